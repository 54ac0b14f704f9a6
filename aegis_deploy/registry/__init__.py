"""Image registries: whether an image is still there, asked without pulling it."""
