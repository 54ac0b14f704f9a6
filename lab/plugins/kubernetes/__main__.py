"""Runs the provider: ``python -m lab.plugins.kubernetes <engine address>``."""

from __future__ import annotations

import sys

from lab.plugins.protocol import Engine, engine_address, light_pulumi, serve


def main() -> None:
    """Serve until the engine stops the plugin."""
    from lab.plugins.kubernetes.server import Provider

    with light_pulumi():
        from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server

    provider = Provider(Engine(engine_address(sys.argv)))
    serve(
        lambda server: add_ResourceProviderServicer_to_server(provider, server),
        on_stop=provider.stop,
    )


if __name__ == "__main__":
    main()
