"""How a stack is, from what its clusters and its history say."""
