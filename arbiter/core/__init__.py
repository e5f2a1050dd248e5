"""The pure core: policy, windows, deciding. No clock, no I/O, no async; ``now`` is always an argument."""
