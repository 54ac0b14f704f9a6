"""The stand-in for ``pulumi-resource-docker``: builds and pushes ``docker.Image``."""
