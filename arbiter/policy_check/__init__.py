"""The check of a policy: what is wrong or doubtful, with file and line. Nothing that decides requests uses it."""
