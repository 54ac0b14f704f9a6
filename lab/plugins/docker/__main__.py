"""Start the Docker provider: ``python -m lab.plugins.docker [options] <engine address>``."""

from __future__ import annotations

import sys

from lab.plugins.docker.provider import DockerProvider
from lab.plugins.protocol import Engine, engine_address, light_pulumi, serve

with light_pulumi():
    from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server


def main() -> None:
    """Serve the provider until the engine stops it."""
    provider = DockerProvider(Engine(engine_address(sys.argv)))
    serve(
        lambda server: add_ResourceProviderServicer_to_server(provider, server),
        on_stop=provider.stop,
    )


if __name__ == "__main__":
    main()
