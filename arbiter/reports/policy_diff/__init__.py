"""What would be decided: files of requests through the real engine, and two policies side by side."""
