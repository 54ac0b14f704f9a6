"""Stand-ins for official Pulumi plugins, for networks where those cannot be had."""
