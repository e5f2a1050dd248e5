"""What is kept of a party: its contacts, its members' facts, what waits, what was answered. Pure."""
