"""``python -m arbiter.cli``."""

from arbiter.cli import main

main(prog_name="arbiter")
