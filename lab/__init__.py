"""The lab: a real Kubernetes of one node or more, registry and Docker daemon on a Linux machine.

Everything runs in a network namespace, a mount namespace and a cgroup of its own, so that
`make down` can take all of it away again. A team with a cluster needs nothing of this.
"""
