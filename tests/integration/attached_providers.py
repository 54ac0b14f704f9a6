"""Providers in the test's own process, which the engine attaches to instead of starting them.

To start one takes a quarter of a second of processor, and an update starts several. The engine
attaches to one that runs when ``PULUMI_DEBUG_PROVIDERS`` says where (``GetProviderAttachPort`` in
Pulumi's ``pkg/resource/plugin/provider_plugin.go``); all else it does as with one that it started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server

from lab.plugins.protocol import Engine
from tests.integration.accepting_provider import AcceptingProvider

VARIABLE = "PULUMI_DEBUG_PROVIDERS"
_CALLS = 64
"""How many calls of one may run at a time; each object that is made is one."""


class _EachItsOwn:
    """Answers each connection by a provider of its own: the engine makes one for each it has."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()

    def __getattr__(self, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._making:
                of = context.peer()
                provider = self._made[of] = self._made.get(of) or self._make()
            return getattr(provider, name)(request, context)

        return answer


@contextmanager
def attached(providers: Mapping[str, Callable[[], Any]]) -> Iterator[dict[str, str]]:
    """Serve providers until the block ends; yields what the engine needs in its environment.

    Args:
        providers: Name -> what makes an instance.
    """
    with ExitStack() as running:
        ports = {name: running.enter_context(_served(make)) for name, make in providers.items()}
        yield {VARIABLE: ",".join(f"{name}:{port}" for name, port in ports.items())}


def writing_down(
    root: Path, *names: str, kind: type[AcceptingProvider] = AcceptingProvider
) -> dict[str, Callable[[], AcceptingProvider]]:
    """The providers that write into a test's ``journal`` what they were asked to do.

    Args:
        root: The test's directory.
        names: Whom they stand in for.
        kind: Which of them.
    """
    return {name: lambda name=name: kind(name, root / "journal") for name in names}  # type: ignore[misc]


@contextmanager
def of_a_cluster() -> Iterator[dict[str, str]]:
    """Serve the lab's stand-in for the Kubernetes provider, whose cluster its settings name."""
    from lab.plugins.kubernetes.server import Provider

    made: list[Provider] = []

    def make() -> Provider:
        made.append(Provider(Engine("")))
        return made[-1]

    with attached({"kubernetes": make}) as at:
        try:
            yield at
        finally:
            for it in made:
                it.stop()


@contextmanager
def _served(make: Callable[[], Any]) -> Iterator[int]:
    with ThreadPoolExecutor(_CALLS) as threads:
        server = grpc.server(threads)
        add_ResourceProviderServicer_to_server(_EachItsOwn(make), server)  # type: ignore[arg-type]
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(grace=None).wait()
