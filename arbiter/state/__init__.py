"""Where a partition's state lives: the codec, the Store contract, its in-memory and its Redis side."""
