# ruff: noqa: N802, ARG002 - the protocol says what its methods are called and given
"""A provider that accepts everything, has no cluster, and writes down what it was asked to do.

It takes the place of the Kubernetes and the Docker provider, so that the program runs in the real
engine: what is made, changed and deleted, and in which order, is the engine's own doing.

Run by the engine as ``python -m tests.integration.accepting_provider NAME JOURNAL ADDRESS``.
Files beside the journal say what shall happen: ``fail`` names what shall fail, such as
``update Deployment``; ``hang`` what shall be begun and not come back while the file is there;
``gone`` the objects, a name a line, that are not found any more; ``foreign`` those that somebody
else made long ago; ``revoked`` the kubeconfigs, a line each, that the cluster knows no longer.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import grpc

from lab.plugins.protocol import RpcError, answers, light_pulumi, serve

with light_pulumi():
    from google.protobuf import empty_pb2  # type: ignore[import-untyped,unused-ignore]
    from pulumi.runtime.proto import plugin_pb2
    from pulumi.runtime.proto import provider_pb2 as messages
    from pulumi.runtime.proto.provider_pb2_grpc import (
        ResourceProviderServicer,
        add_ResourceProviderServicer_to_server,
    )

VERSIONS = {"kubernetes": "4.32.0", "docker": "5.2.0"}
DIGEST = f"sha256:{'d' * 64}"


class AcceptingProvider(ResourceProviderServicer):  # type: ignore[misc,unused-ignore]
    """Accepts everything; see the module."""

    def __init__(self, name: str, journal: Path) -> None:
        self._name = name
        self._journal = journal
        self._credentials = ""

    def Attach(self, request: Any, context: Any) -> Any:
        """Serve an engine that did not start this; it is told nothing."""
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """Say which version this would be."""
        return plugin_pb2.PluginInfo(version=VERSIONS[self._name])

    def CheckConfig(self, request: Any, context: Any) -> Any:
        """Accept the provider's settings."""
        return messages.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        """Find no difference that matters."""
        return messages.DiffResponse(changes=messages.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        """Take secrets as secrets, so that they stay secret in the state; note who asks."""
        told = request.args.fields["kubeconfig"]
        held = told.struct_value.fields["value"] if told.HasField("struct_value") else told
        self._credentials = held.string_value
        return messages.ConfigureResponse(acceptSecrets=True)

    def Check(self, request: Any, context: Any) -> Any:
        """Accept a resource's inputs."""
        return messages.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        """Compare inputs; a renamed object is another one."""
        response = messages.DiffResponse()
        if request.old_inputs == request.news:
            return messages.DiffResponse(changes=response.DIFF_NONE)
        return messages.DiffResponse(changes=response.DIFF_SOME)

    @answers
    def Read(self, request: Any, context: Any) -> Any:
        """Find every object as it was left, but for those that are gone."""
        self._know()
        gone = self._journal.with_name("gone")
        if gone.exists() and request.id in gone.read_text().splitlines():
            return messages.ReadResponse()
        properties = request.properties if request.properties.fields else request.inputs
        foreign = self._journal.with_name("foreign")
        if foreign.exists() and request.id in foreign.read_text().splitlines():
            metadata = properties.fields["metadata"].struct_value
            metadata.fields["creationTimestamp"].string_value = "2020-01-02T03:04:05Z"
        return messages.ReadResponse(id=request.id, properties=properties, inputs=request.inputs)

    @answers
    def Create(self, request: Any, context: Any) -> Any:
        """Write down a creation."""
        self._write("create", request.urn)
        return messages.CreateResponse(
            id=request.urn.rpartition("::")[2], properties=self._outputs(request.properties)
        )

    @answers
    def Update(self, request: Any, context: Any) -> Any:
        """Write down a change."""
        self._write("update", request.urn)
        return messages.UpdateResponse(properties=self._outputs(request.news))

    @answers
    def Delete(self, request: Any, context: Any) -> Any:
        """Write down a deletion."""
        self._write("delete", request.urn)
        return empty_pb2.Empty()

    def _outputs(self, inputs: Any) -> Any:
        if self._name == "docker":
            repository = inputs.fields["imageName"].string_value.rpartition(":")[0]
            inputs.fields["repoDigest"].string_value = f"{repository}@{DIGEST}"
        return inputs

    def _know(self) -> None:
        revoked = self._journal.with_name("revoked")
        if revoked.exists() and self._credentials in revoked.read_text().splitlines():
            raise RpcError(
                grpc.StatusCode.UNKNOWN,
                "the server has asked for the client to provide credentials",
            )

    def _write(self, step: str, urn: str) -> None:
        self._know()
        type_token, name = urn.split("::")[-2:]
        kind = type_token.rpartition(":")[2]
        failing = self._journal.with_name("fail")
        if failing.exists() and failing.read_text().strip() == f"{step} {kind}":
            raise RpcError(grpc.StatusCode.UNKNOWN, f"{step} {kind} fails, as the test asks")
        with self._journal.open("a") as journal:
            journal.write(f"{step} {kind} {name}\n")
        hanging = self._journal.with_name("hang")
        while hanging.exists() and hanging.read_text().strip() == f"{step} {kind}":
            time.sleep(0.05)


if __name__ == "__main__":
    provider = AcceptingProvider(sys.argv[1], Path(sys.argv[2]))
    serve(lambda server: add_ResourceProviderServicer_to_server(provider, server))
