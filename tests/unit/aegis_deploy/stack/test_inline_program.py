"""What the SDK needs of us to run several engines in one process."""

from __future__ import annotations

import contextvars
import socket
from concurrent import futures
from typing import Any

import grpc
import pytest
from pulumi.runtime import settings
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

import aegis_deploy.stack.inline_program  # noqa: F401  imported for what it does to the SDK's connections


class _Engine(engine_pb2_grpc.EngineServicer):
    def GetRootResource(self, *_: Any) -> engine_pb2.GetRootResourceResponse:  # noqa: N802
        return engine_pb2.GetRootResourceResponse(urn="of the new engine")


def _stub(port: int) -> Any:
    def connect() -> Any:
        return settings.Settings(project="p", stack="s", engine=f"127.0.0.1:{port}").engine

    # As the SDK does it for a program: what it sets is gone with the context.
    return contextvars.copy_context().run(connect)


def test_an_engine_on_the_port_of_a_dead_one_is_reached() -> None:
    asked = engine_pb2.GetRootResourceRequest()
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        port = dead.getsockname()[1]
    earlier = _stub(port)
    with pytest.raises(grpc.RpcError):
        earlier.GetRootResource(asked)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    engine_pb2_grpc.add_EngineServicer_to_server(_Engine(), server)
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    try:
        assert _stub(port).GetRootResource(asked).urn == "of the new engine"
    finally:
        server.stop(0)
