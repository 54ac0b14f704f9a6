"""Start the language host: ``python -m lab.plugins.language [options] <engine address>``."""

from __future__ import annotations

import sys

from lab.plugins.language.host import LanguageHost
from lab.plugins.protocol import Engine, engine_address, light_pulumi, serve

with light_pulumi():
    from pulumi.runtime.proto.language_pb2_grpc import add_LanguageRuntimeServicer_to_server


def main() -> None:
    """Serve the language host until the engine stops it."""
    address = engine_address(sys.argv)
    host = LanguageHost(Engine(address), address)
    serve(
        lambda server: add_LanguageRuntimeServicer_to_server(host, server),
        on_stop=host.stop,
    )


if __name__ == "__main__":
    main()
