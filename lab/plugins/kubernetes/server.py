"""The provider's gRPC service: configuration, and calls handed on to the resources.

Every method is named by the protocol; ``answers`` turns what it raises into a gRPC status.
"""

# ruff: noqa: N802, ARG002

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import grpc

from lab.plugins.kubernetes.configuration import changed_settings, strict_mode_failures
from lab.plugins.kubernetes.invoke import decode_yaml
from lab.plugins.kubernetes.resources import Resources
from lab.plugins.kubernetes.settings import read_settings
from lab.plugins.properties import decode, encode, plain
from lab.plugins.protocol import Engine, RpcError, answers, light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

if TYPE_CHECKING:
    from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped,unused-ignore]

VERSION = "4.32.0"
Context: TypeAlias = grpc.ServicerContext


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One provider process; it is configured once and then serves many calls at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._resources: Resources | None = None

    def stop(self) -> None:
        """Wake every call that waits, and remove what is kept in files."""
        if self._resources is not None:
            self._resources.cluster.cancellation.cancel()
            self._resources.cluster.api.close()

    @property
    def _configured(self) -> Resources:
        if self._resources is None:
            raise RpcError(
                grpc.StatusCode.FAILED_PRECONDITION, "the kubernetes provider is not configured yet"
            )
        return self._resources

    @answers
    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: Context
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Say what the provider understands."""
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, supports_autonaming_configuration=True
        )

    @answers
    def Attach(self, request: plugin_pb2.PluginAttach, context: Context) -> Empty:
        """Talk to another engine, as a debugger asks."""
        self._engine = Engine(request.address)
        return _empty()

    @answers
    def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:
        """Say the version stood in for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    @answers
    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: Context
    ) -> provider_pb2.GetSchemaResponse:
        """Return a schema without resources; programs in Python carry their own."""
        return provider_pb2.GetSchemaResponse(
            schema=f'{{"name":"kubernetes","version":"{VERSION}"}}'
        )

    @answers
    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        """Accept the provider's configuration, unless strict mode forbids it."""
        response = provider_pb2.CheckResponse(inputs=request.news)
        for name, reason in strict_mode_failures(request.urn, decode(request.news)):
            response.failures.append(provider_pb2.CheckFailure(property=name, reason=reason))
        return response

    @answers
    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        """Replace the provider when it would manage another cluster."""
        changed, replaces = changed_settings(decode(request.olds), decode(request.news))
        kinds = provider_pb2.DiffResponse
        return kinds(
            changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
        )

    @answers
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Context
    ) -> provider_pb2.ConfigureResponse:
        """Take up the configuration; the cluster is looked for when it is first needed."""
        try:
            settings = read_settings(dict(request.variables))
        except ValueError as error:
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        self._resources = Resources(self._engine, settings)
        self._engine.say_stand_in("kubernetes provider", f"pulumi-resource-kubernetes {VERSION}")
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @answers
    def Invoke(
        self, request: provider_pb2.InvokeRequest, context: Context
    ) -> provider_pb2.InvokeResponse:
        """Decode YAML; the functions for Helm and Kustomize need the official plugin."""
        if request.tok != "kubernetes:yaml:decode":
            raise RpcError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"the lab's stand-in for the kubernetes provider has no function {request.tok}; "
                "install the official plugin for it",
            )
        arguments = plain(decode(request.args))
        return provider_pb2.InvokeResponse(**{"return": encode({"result": decode_yaml(arguments)})})

    @answers
    def Check(
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        """Complete and normalise a resource's inputs."""
        _refuse_helm(request.urn)
        return self._configured.check(request)

    @answers
    def Diff(
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        """Compare a resource's state with new inputs."""
        return self._configured.diff(request)

    @answers
    def Create(
        self, request: provider_pb2.CreateRequest, context: Context
    ) -> provider_pb2.CreateResponse:
        """Create a resource."""
        return self._configured.create(request)

    @answers
    def Read(
        self, request: provider_pb2.ReadRequest, context: Context
    ) -> provider_pb2.ReadResponse:
        """Read a resource."""
        return self._configured.read(request)

    @answers
    def Update(
        self, request: provider_pb2.UpdateRequest, context: Context
    ) -> provider_pb2.UpdateResponse:
        """Update a resource."""
        return self._configured.update(request)

    @answers
    def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:
        """Delete a resource."""
        self._configured.delete(request)
        return _empty()

    @answers
    def Cancel(self, request: Empty, context: Context) -> Empty:
        """End every wait at once; the calls answer with what they know."""
        if self._resources is not None:
            self._resources.cluster.cancellation.cancel()
        return _empty()


def _refuse_helm(urn: str) -> None:
    if "kubernetes:helm.sh/" in urn:
        raise RpcError(
            grpc.StatusCode.UNIMPLEMENTED,
            "Helm releases need the official kubernetes plugin; the lab's stand-in has none",
        )


def _empty() -> Empty:
    from google.protobuf.empty_pb2 import Empty

    return Empty()
