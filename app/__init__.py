"""aegis-api: the service this repository deploys.

A small reference service that a team replaces with its own image. What the deployment relies on
is in `endpoints` (probes, version, metrics), `lifecycle` and `server` (how it starts and drains).
Nothing here imports the Pulumi program, and nothing writes to the file system.
"""
