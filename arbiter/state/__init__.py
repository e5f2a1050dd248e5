"""A partition's state: the codec, the Store contract, its in-memory and its Redis implementation."""
