"""The ResourceProvider service for ``docker:index/image:Image``.

Every other type of the official provider is refused by name.
"""
# ruff: noqa: N802, ARG002 - the protocol names the methods and their arguments

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc

from lab.plugins.children import Children
from lab.plugins.docker import daemon, failures, inputs
from lab.plugins.docker.context import relative_dockerfile
from lab.plugins.docker.job import Event, Job
from lab.plugins.properties import PropertyValue, Secret, decode, encode, has_unknown, plain
from lab.plugins.protocol import Engine, RpcError, answers, light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

if TYPE_CHECKING:
    from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped,unused-ignore]
    from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped,unused-ignore]

VERSION: Final = "5.2.0"
OFFICIAL: Final = f"pulumi-resource-docker {VERSION}"
IMAGE: Final = "docker:index/image:Image"
_CHECKOUT: Final = Path(__file__).resolve().parents[3]
_STATUS_SECONDS: Final = 0.1
_KINDS: Final = {
    "add": provider_pb2.PropertyDiff.ADD,
    "delete": provider_pb2.PropertyDiff.DELETE,
    "update": provider_pb2.PropertyDiff.UPDATE,
}


class DockerProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Builds images with the Docker daemon that DOCKER_HOST or ``docker:host`` names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._daemon = daemon.Daemon(daemon.DEFAULT_HOST)
        self._children = Children()

    def stop(self) -> None:
        """End every build and push that runs."""
        self._children.stop()

    @answers
    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Return the version of the official provider this one stands in for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    @answers
    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> Empty:
        """Use another engine."""
        self._engine = Engine(request.address)
        return _empty()

    @answers
    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Accept the provider's configuration as it is."""
        return provider_pb2.CheckResponse(inputs=request.news)

    @answers
    def DiffConfig(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        """Say whether the provider's configuration changed; no change replaces it."""
        same = decode(request.old_inputs) == decode(request.news)
        return provider_pb2.DiffResponse(changes=_changes(different=not same))

    @answers
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Learn where the daemon is; it is contacted only when there is something to build."""
        config = {
            key.rpartition(":")[2]: value
            for key, value in request.variables.items()
            if isinstance(value, str)
        }
        try:
            self._daemon = daemon.configured(config)
        except daemon.Unsupported as error:
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    @answers
    def Check(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Validate an image's inputs, fill in defaults and the digest of its context."""
        _only_images(request.urn)
        self._engine.say_stand_in("Docker provider", OFFICIAL)
        try:
            checked = inputs.check(_plain(request.news))
        except inputs.BadInput as error:
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        if checked.platform_assumed:
            self._engine.info(
                f"the image is built for {inputs.host_platform()}, this machine's platform; "
                "set build.platform to choose another",
                request.urn,
            )
        return provider_pb2.CheckResponse(inputs=encode(checked.inputs))

    @answers
    def Diff(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        """Compare with the inputs the state's outputs carry; every change is an update."""
        _only_images(request.urn)
        found = inputs.changes(inputs.recorded_inputs(_plain(request.olds)), _plain(request.news))
        return provider_pb2.DiffResponse(
            changes=_changes(different=bool(found)),
            detailedDiff={
                key: provider_pb2.PropertyDiff(kind=_KINDS[kind]) for key, kind in found.items()
            },
            hasDetailedDiff=bool(found),
        )

    @answers
    def Create(
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        """Build and push an image; its name is its id."""
        _only_images(request.urn)
        checked = _plain(request.properties)
        if request.preview and not self._builds_in_preview(checked, request.urn):
            return provider_pb2.CreateResponse(properties=request.properties)
        outputs = self._build(checked, request.urn, context, preview=request.preview)
        return provider_pb2.CreateResponse(id=outputs["imageName"], properties=encode(outputs))

    @answers
    def Update(
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        """Build and push an image again."""
        _only_images(request.urn)
        checked = _plain(request.news)
        if request.preview and not self._builds_in_preview(checked, request.urn):
            return provider_pb2.UpdateResponse(properties=request.news)
        outputs = self._build(checked, request.urn, context, preview=request.preview)
        return provider_pb2.UpdateResponse(properties=encode(outputs))

    @answers
    def Read(
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        """Return what the state says: images are not looked at again."""
        _only_images(request.urn)
        return provider_pb2.ReadResponse(
            id=request.id, inputs=request.inputs, properties=request.properties
        )

    @answers
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> Empty:
        """Forget an image; it stays in its registry, for others may run it."""
        _only_images(request.urn)
        return _empty()

    @answers
    def Cancel(self, request: Empty, context: grpc.ServicerContext) -> Empty:
        """Stop every build and push at once."""
        self.stop()
        return _empty()

    @answers
    def Invoke(
        self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.InvokeResponse:
        """Refuse a function of the official provider."""
        _refuse(request.tok)

    @answers
    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        """Refuse: only the official provider has the schema of all its types."""
        _refuse("the schema")

    def _builds_in_preview(self, checked: dict[str, Any], urn: str) -> bool:
        """Say whether a preview builds; fail now when the update could not."""
        reason = daemon.unreachable(self._daemon)
        if reason is not None:
            raise RpcError(
                grpc.StatusCode.UNAVAILABLE, failures.no_daemon(self._daemon.host, reason)
            )
        if checked.get("buildOnPreview") is not True:
            return False
        obstacle = inputs.preview_obstacle(checked)
        if obstacle is not None:
            self._engine.warning(obstacle, urn)
        return obstacle is None

    def _build(
        self,
        checked: dict[str, Any],
        urn: str,
        context: grpc.ServicerContext,
        *,
        preview: bool,
    ) -> dict[str, PropertyValue]:
        """Build and push, and return the resource's outputs."""
        reason = daemon.unreachable(self._daemon)
        if reason is not None:
            raise RpcError(grpc.StatusCode.UNKNOWN, failures.no_daemon(self._daemon.host, reason))
        if has_unknown(checked.get("imageName")) or "contextDigest" not in checked["build"]:
            raise RpcError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "the image cannot be built: its name, its Dockerfile or its context is not known",
            )
        if checked["build"].get("builderVersion") != inputs.CLASSIC:
            self._engine.warning(
                "the lab's stand-in for the Docker plugin has no BuildKit and builds with the "
                "classic builder; the official plugin would use BuildKit here. "
                f"Set build.builderVersion to {inputs.CLASSIC} for the same builder in both",
                urn,
            )
        job = Job.of(
            checked,
            host=self._daemon.host,
            cert_path=self._daemon.cert_path,
            preview=preview,
        )
        digest = self._run(job, urn, context)
        return {
            "dockerfile": relative_dockerfile(job.context, job.dockerfile),
            "context": job.context,
            "baseImageName": job.image,
            "registryServer": job.server,
            "imageName": job.image,
            "platform": job.platform,
            "repoDigest": digest,
            "__inputs": Secret(checked),
        }

    def _run(self, job: Job, urn: str, context: grpc.ServicerContext) -> str:
        """Run a job in a process of its own and return the digest it reports."""
        child = self._children.start(
            [sys.executable, "-P", "-m", "lab.plugins.docker.build"],
            environment=os.environ | {"PYTHONPATH": str(_CHECKOUT)},
            directory=".",
            output=subprocess.PIPE,
            standard_input=job.dump(),
        )
        if not context.add_callback(child.stop):
            child.stop()
        assert child.process.stdout is not None  # noqa: S101 - a pipe was asked for
        last = Event("failed", "the build process ended without a result")
        shown = 0.0
        try:
            for line in child.process.stdout:
                event = Event.load(line)
                if event.kind in ("failed", "done"):
                    last = event
                elif event.kind == "warning":
                    self._engine.warning(event.text, urn)
                elif event.kind == "info":
                    self._engine.info(event.text, urn)
                elif time.monotonic() - shown > _STATUS_SECONDS or event.text.startswith("Step "):
                    shown = time.monotonic()
                    self._engine.status(event.text, urn)
            child.wait()
        finally:
            self._children.forget(child)
        if last.kind == "done":
            return last.text
        if child.stopped:
            raise RpcError(grpc.StatusCode.CANCELLED, f"building {job.image} was stopped")
        raise RpcError(grpc.StatusCode.UNKNOWN, last.text)


def _empty() -> Empty:
    from google.protobuf.empty_pb2 import Empty

    return Empty()


def _plain(message: Struct) -> dict[str, Any]:
    """Return a property map without secret envelopes."""
    return {key: plain(value) for key, value in decode(message).items()}


def _changes(*, different: bool) -> provider_pb2.DiffResponse.DiffChanges.ValueType:
    if different:
        return provider_pb2.DiffResponse.DIFF_SOME
    return provider_pb2.DiffResponse.DIFF_NONE


def _only_images(urn: str) -> None:
    kind = urn.split("::")[2].rpartition("$")[2] if urn.count("::") >= 3 else urn  # noqa: PLR2004
    if kind != IMAGE:
        _refuse(kind)


def _refuse(what: str) -> NoReturn:
    raise RpcError(
        grpc.StatusCode.UNIMPLEMENTED,
        f"the lab's stand-in for {OFFICIAL} knows {IMAGE} only, not {what}.\n"
        "Install the official plugin on a machine with network access: "
        f"`pulumi plugin install resource docker {VERSION}`",
    )
