"""Tests of a policy, written by its owners beside it: read, run on the real engine, and reported."""
