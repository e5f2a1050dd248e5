"""``arbiter demo``: a real bank's phone campaigns, and what happens when one policy arbitrates them.

Real calls, and competing offers generated for the same clients, go through a real worker, on a broker and a Redis that
come as Python packages. Then code that shares nothing with the worker counts everything again from the topics.
"""

from __future__ import annotations

from arbiter.demo.cli import demo as command

__all__ = ["command"]
