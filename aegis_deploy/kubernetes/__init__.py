"""The cluster: the one client, what it holds of workloads, who owns which field."""
