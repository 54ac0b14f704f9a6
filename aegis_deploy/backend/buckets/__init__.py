"""A bucket of objects, for each kind of place that a state can be in."""
