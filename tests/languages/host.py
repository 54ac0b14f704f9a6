"""A language host for the tests' programs in Go and TypeScript.

The official hosts of these languages cannot be had on a closed network. What a program registers
is made by its SDK, which is the official one; a host only starts it with the engine's address. So
does this one: a Go program that is built (``options.binary``), or the TypeScript SDK's own runner.

Run by the engine as ``python -m tests.languages.host LANGUAGE ADDRESS``.
"""
# ruff: noqa: N802, ARG002 - the protocol names the methods and their arguments

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from lab.plugins.children import Children
from lab.plugins.properties import decode
from lab.plugins.protocol import answers, engine_address, light_pulumi, serve

with light_pulumi():
    from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

VERSION = "3.259.0"
EXPLAINED = 32
"""Exit code of a TypeScript program whose error the engine has shown already."""


class ProgramHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs a program of one language.

    Args:
        language: ``go`` or ``nodejs``.
        engine: The engine's address.
    """

    def __init__(self, language: str, engine: str) -> None:
        self._language = language
        self._engine = engine
        self._children = Children()

    def stop(self) -> None:
        """End the program."""
        self._children.stop()

    @answers
    def Handshake(self, request: Any, context: Any) -> Any:
        """Learn the engine's address when the engine gives it here."""
        self._engine = self._engine or request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    @answers
    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """Say which official host this would be."""
        return plugin_pb2.PluginInfo(version=VERSION)

    @answers
    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """Leave it to the engine to load a plugin when the first resource needs it."""
        return language_pb2.GetRequiredPackagesResponse()

    @answers
    def Cancel(self, request: Any, context: Any) -> Any:
        """Stop the running program."""
        self._children.stop()
        return request

    @answers
    def Run(self, request: Any, context: Any) -> Any:
        """Run the program to its end; its output passes through to the user."""
        command, environment = _start(self._language, self._engine, request)
        child = self._children.start(
            command, environment={**os.environ, **environment}, directory=request.pwd
        )
        if not context.add_callback(child.stop):
            child.stop()
        try:
            code = child.wait()
        finally:
            self._children.forget(child)
        if code == EXPLAINED:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"the program ended with {code}" if code else "")


def _start(language: str, engine: str, request: Any) -> tuple[list[str], dict[str, str]]:
    """How a program is started: its command, and what its environment says."""
    environment = {
        "PULUMI_CONFIG": json.dumps(dict(request.config)),
        "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
    }
    root, entry = Path(request.info.root_directory), request.info.entry_point or "."
    told = {
        "monitor": request.monitor_address,
        "engine": engine,
        "project": request.project,
        "stack": request.stack,
        "organization": request.organization,
        "root-directory": str(root),
        "parallel": str(request.parallel),
    }
    if language == "go":
        named = {f"PULUMI_{key.upper().replace('-', '_')}": told[key] for key in told}
        environment |= {**named, "PULUMI_DRY_RUN": "true" if request.dryRun else "false"}
        return [str(root / decode(request.info.options)["binary"])], environment
    environment["PULUMI_NODEJS_TYPESCRIPT"] = "true"
    runner = root / "node_modules" / "@pulumi" / "pulumi" / "cmd" / "run"
    words = [f"--{key}={value}" for key, value in told.items() if value]
    words += [f"--pwd={request.pwd}", *(["--dry-run"] if request.dryRun else [])]
    return ["node", str(runner), *words, entry], environment


def main() -> None:
    """Serve until the engine stops it."""
    host = ProgramHost(sys.argv[1], engine_address(sys.argv))
    serve(
        lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server),
        on_stop=host.stop,
    )


if __name__ == "__main__":
    main()
