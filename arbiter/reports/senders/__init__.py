"""What a system publishes, checked before a worker reads it: what would be refused, noted or ignored."""
