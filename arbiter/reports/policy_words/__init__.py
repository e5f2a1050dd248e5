"""A policy in words: what its approver signs, and what differs between two of them. Pure: no clock, no I/O."""
