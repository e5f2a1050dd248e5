"""Decisions: a request, a party and a rule set in, a decision out. Pure."""
