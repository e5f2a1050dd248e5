"""What the client knows without a clock, a broker or a thread: messages, records, decisions, permits. Pure."""
