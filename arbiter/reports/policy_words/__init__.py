"""A policy in words, as its approver signs it, and the differences between two. Pure: no clock, no I/O."""
