"""Carrying out a replay: an inline program of raw registrations, as any program's SDK sends them.

Everything is registered as soon as what it depends on is there, so a replay takes no longer than
the program that was deployed. Only the engine decides what that changes.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pulumi
from google.protobuf import struct_pb2  # type: ignore[import-untyped,unused-ignore]
from pulumi.runtime import rpc, settings
from pulumi.runtime.proto import alias_pb2, resource_pb2

from aegis_deploy.model.signatures import SIGNATURE, is_secret
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.ordering import needed
from aegis_deploy.stack.checkpoint import STACK, Resource

_INTERNAL = "__internal"
_AT_ONCE = 64

Settle = Callable[[], str | None]


def registering(replay: Replay, settle: Settle | None = None) -> Callable[[], Any]:
    """The program that registers what a replay restores.

    Args:
        replay: The replay.
        settle: Waits until what was registered serves, and returns why it never will. The engine
            deletes once the program has ended: what only the pods of the release before need goes
            after them, and a rollout that fails fails the update before anything is deleted.
    """

    async def run() -> None:
        await _Registration(replay).run()
        if settle is None or pulumi.runtime.is_dry_run():
            return
        why = await asyncio.to_thread(settle)
        if why:
            raise pulumi.RunError(why)

    return run


def clearing(replay: Replay) -> Callable[[], Any]:
    """The program that registers nothing, for an update of nothing but what goes first.

    Args:
        replay: The replay.
    """

    async def run() -> None:
        await _bind_hooks(replay)
        for key, value in replay.outputs_now.items():
            pulumi.export(key, _exported(value))

    return run


class _Registration:
    """One run of a replay against an engine."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._monitor: Any = settings.get_monitor()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._references: dict[str, str] = {}
        self._packages: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        self._root = ""

    async def run(self) -> None:
        """Register everything, and hand over the stack's outputs."""
        stack = settings.get_root_resource()
        if stack is None:
            raise pulumi.RunError("a replay runs as an inline program of a stack")
        self._root = await _urn(stack)
        await _bind_hooks(self._replay)
        # A preview does not find what `Replay.prepare` enters into the state.
        missing = self._replay.absent if pulumi.runtime.is_dry_run() else frozenset()
        try:
            for resource in self._replay.resources:
                if resource.urn in missing:
                    continue
                self._tasks[resource.urn] = asyncio.ensure_future(self._register(resource))
            await self._finish()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
        for key, value in self._replay.outputs.items():
            pulumi.export(key, _exported(value))

    async def _finish(self) -> None:
        """Wait for everything; at the first failure give up what is not yet sent."""
        try:
            await asyncio.gather(*self._tasks.values())
        except grpc.RpcError as error:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            # Unavailable is the engine's way to stop; it has said why.
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise
            raise pulumi.RunError(str(error.details())) from error
        await asyncio.gather(
            *(
                self._send_outputs(resource)
                for resource in self._replay.resources
                if not resource.custom
            )
        )

    async def _register(self, resource: Resource) -> None:
        first = self._replay.first
        for urn in (*needed(resource), *(() if resource.urn in first.ahead else first.leads)):
            if urn in self._tasks:
                await self._tasks[urn]
        if resource.external:
            await self._call(self._monitor.ReadResource, await self._reading(resource))
            return
        response = await self._call(
            self._monitor.RegisterResource, await self._registration(resource)
        )
        if resource.is_provider:
            self._references[resource.urn] = f"{response.urn}::{response.id or rpc.UNKNOWN}"

    async def _send_outputs(self, resource: Resource) -> None:
        request = resource_pb2.RegisterResourceOutputsRequest(
            urn=resource.urn, outputs=_struct(resource.outputs)
        )
        await self._call(self._monitor.RegisterResourceOutputs, request)

    async def _call(self, method: Callable[[Any], Any], request: Any) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, method, request)

    async def _registration(self, resource: Resource) -> Any:  # noqa: ANN401 - a gRPC message
        options = resource.options
        request = resource_pb2.RegisterResourceRequest(
            type=resource.type,
            name=resource.name,
            parent=self._parent(resource),
            custom=resource.custom,
            object=_struct(_inputs(resource)),
            protect=resource.protected,
            dependencies=resource.dependencies,
            propertyDependencies=_property_dependencies(resource),
            ignoreChanges=options.get("ignoreChanges") or (),
            hideDiffs=options.get("hideDiff") or (),
            replaceOnChanges=options.get("replaceOnChanges") or (),
            replace_with=options.get("replaceWith") or (),
            retainOnDelete=resource.retained,
            deletedWith=options.get("deletedWith") or "",
            additionalSecretOutputs=options.get("additionalSecretOutputs") or (),
            customTimeouts=_timeouts(options.get("customTimeouts") or {}),
            aliases=[
                alias_pb2.Alias(urn=urn)
                for urn in (*resource.aliases, *self._replay.aliases.get(resource.urn, ()))
            ],
            aliasSpecs=True,
            acceptSecrets=True,
            acceptResources=True,
            supportsPartialValues=True,
        )
        if options.get("replacementTrigger") is not None:
            request.replacement_trigger.CopyFrom(_value(options["replacementTrigger"]))
        if resource.is_provider:
            await self._plugin(request, resource)
            internal = resource.inputs.get(_INTERNAL) or {}
            request.envVarMappings.update(internal.get("envVarMappings") or {})
        elif resource.custom:
            await self._managed(request, resource)
        return request

    async def _reading(self, resource: Resource) -> Any:  # noqa: ANN401 - a gRPC message
        request = resource_pb2.ReadResourceRequest(
            id=resource.id,
            type=resource.type,
            name=resource.name,
            parent=self._parent(resource),
            properties=_struct(resource.inputs),
            dependencies=resource.dependencies,
            additionalSecretOutputs=resource.options.get("additionalSecretOutputs") or (),
            acceptSecrets=True,
            acceptResources=True,
        )
        await self._managed(request, resource)
        return request

    def _parent(self, resource: Resource) -> str:
        """The parent's URN; the stack's may be given to the engine in no other words than its."""
        return self._root if _is_stack(resource.parent) else resource.parent

    async def _managed(self, request: Any, resource: Resource) -> None:  # noqa: ANN401
        """Name the provider: an explicit one by its reference, a default one by what it needs."""
        reference = self._references.get(resource.provider_urn)
        if reference is not None:
            request.provider = reference
            return
        default = self._replay.providers.get(resource.provider_urn)
        if default is not None:
            await self._plugin(request, default)

    async def _plugin(self, request: Any, provider: Resource) -> None:  # noqa: ANN401
        """Ask for the plugin that a provider's record names."""
        internal = provider.inputs.get(_INTERNAL) or {}
        if internal.get("parameterization"):
            request.packageRef = await self._package(provider, internal)
            return
        request.version = provider.inputs.get("version") or ""
        request.pluginDownloadURL = internal.get("pluginDownloadURL") or ""
        for key, checksum in (internal.get("pluginChecksums") or {}).items():
            request.pluginChecksums[key] = bytes.fromhex(checksum)

    async def _package(self, provider: Resource, internal: Mapping[str, Any]) -> str:
        if provider.urn not in self._packages:
            name = provider.type.rpartition(":")[2]
            response = await self._call(
                self._monitor.RegisterPackage,
                resource_pb2.RegisterPackageRequest(
                    name=internal.get("name") or name,
                    version=internal.get("version") or "",
                    download_url=internal.get("pluginDownloadURL") or "",
                    parameterization=resource_pb2.Parameterization(
                        name=name,
                        version=provider.inputs.get("version") or "",
                        value=base64.b64decode(internal["parameterization"]),
                    ),
                ),
            )
            self._packages[provider.urn] = str(response.ref)
        return self._packages[provider.urn]


async def _urn(stack: pulumi.Resource) -> str:
    return str(await stack.urn.future())


async def _bind_hooks(replay: Replay) -> None:
    """Let the hooks exist that what is deleted names; what they did is code of another time."""
    hooks = [pulumi.ResourceHook(name, _do_nothing) for name in replay.hooks]
    for hook in hooks:
        await hook._registered  # nothing public says it


def _do_nothing(_: pulumi.ResourceHookArgs) -> None:
    """Stand in for a hook whose code is not there any more."""


def _inputs(resource: Resource) -> Mapping[str, Any]:
    """A resource's inputs as a program would give them."""
    if resource.is_provider:
        # The engine writes these two itself, from the plugin that is asked for.
        return {
            key: value
            for key, value in resource.inputs.items()
            if key not in (_INTERNAL, "version")
        }
    return {
        key: _undefaulted(value) for key, value in resource.inputs.items() if key != "__defaults"
    }


def _undefaulted(value: Any) -> Any:  # noqa: ANN401 - any property value
    """Without the note that providers made from Terraform's leave about defaults they filled in."""
    if isinstance(value, dict):
        return {key: _undefaulted(inner) for key, inner in value.items() if key != "__defaults"}
    return [_undefaulted(inner) for inner in value] if isinstance(value, list) else value


def _property_dependencies(resource: Resource) -> dict[str, Any]:
    """Per property, as recorded; never none at all, which would mean all of them for each."""
    recorded = resource.options.get("propertyDependencies") or dict.fromkeys(resource.inputs)
    return {
        key: resource_pb2.RegisterResourceRequest.PropertyDependencies(urns=urns or ())
        for key, urns in recorded.items()
    }


def _timeouts(recorded: Mapping[str, float]) -> Any:  # noqa: ANN401 - a gRPC message
    return resource_pb2.RegisterResourceRequest.CustomTimeouts(
        **{key: f"{seconds}s" for key, seconds in recorded.items() if seconds}
    )


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(values))
    return struct


def _value(value: Any) -> struct_pb2.Value:  # noqa: ANN401 - any property value
    return _struct({"value": value}).fields["value"]


def _exported(value: Any) -> Any:  # noqa: ANN401 - any property value
    """A stack's output as a program would export it."""
    if is_secret(value):
        return pulumi.Output.secret(_exported(value["value"]))
    if isinstance(value, dict) and SIGNATURE not in value:
        return {key: _exported(inner) for key, inner in value.items()}
    return [_exported(inner) for inner in value] if isinstance(value, list) else value


def _is_stack(urn: str) -> bool:
    return urn.split("::", 3)[2:3] == [STACK]
