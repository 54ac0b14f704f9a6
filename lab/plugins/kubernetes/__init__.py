"""Stand-in for the official Kubernetes provider, ``pulumi-resource-kubernetes`` 4.32.0.

It speaks Pulumi's ResourceProvider protocol to the engine and talks to a real API server through
the official Python client. Inputs, ids and outputs have the official layout, so a stack moves
between the two without a change.
"""
