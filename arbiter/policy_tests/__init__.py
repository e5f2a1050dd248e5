"""Tests of a policy, written beside it by its owners: read, run on the real core, and reported."""
