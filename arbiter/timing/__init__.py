"""Instants, budget windows, opening hours: plain arithmetic on time. Pure."""
