"""What the gateway knows without a clock, a socket or a file: keys, problems, what a body says, limits. Pure."""
