"""The decision engine: pure functions of a party's state, an event and the time."""
