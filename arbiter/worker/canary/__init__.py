"""The canary: synthetic requests through the whole path, to see from outside that decisions come back in time."""
