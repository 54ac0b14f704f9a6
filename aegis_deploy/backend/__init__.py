"""Where states and histories are kept: one protocol, a store for each kind of place."""
