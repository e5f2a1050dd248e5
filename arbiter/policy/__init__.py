"""The policy: its document, and the rule set that is compiled from it. Pure."""
