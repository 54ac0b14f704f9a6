"""Who works on a stack, who died at work on it, and what puts it in order."""
