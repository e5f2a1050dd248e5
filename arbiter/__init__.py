"""Arbiter: real-time arbitration of who may contact a customer."""

__version__ = "0.1.0"
