"""The Pulumi CLI: every run of it, its words when it fails, its project and its processes."""
