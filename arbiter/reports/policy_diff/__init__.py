"""What would be decided: whole files of requests through the real core, and two policies side by side."""
