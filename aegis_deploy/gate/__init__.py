"""Whether a release that was rolled out is good."""
