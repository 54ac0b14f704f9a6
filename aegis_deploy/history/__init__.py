"""The releases of a stack: which are verified or refused, how two differ, where to go back to."""
