"""What is done to a stack, an operation a module; in which order is the flows'."""
