"""Dead letters read back: what they are, which are meant, and how they are sent again or set aside."""
