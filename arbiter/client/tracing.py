"""The trace of the caller's own work, if it traces with OpenTelemetry. Nothing is imported for it."""

from __future__ import annotations

import sys
from typing import Any


def current_traceparent() -> str:
    """The current span as a header ``traceparent``; empty without one."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}" if span.is_valid else ""
