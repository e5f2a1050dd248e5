"""``arbiter doctor``: looks at everything that an installation needs, and says what is wrong and how to mend it."""
