"""The life of one resource: Check, Diff, Create, Read, Update and Delete, message to message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

from lab.plugins.kubernetes import checkpoint, fields
from lab.plugins.kubernetes.await_simple import JobComplete
from lab.plugins.kubernetes.awaiting import WaitError
from lab.plugins.kubernetes.check import InputsError, Naming, complete, is_patch_kind
from lab.plugins.kubernetes.client import ApiError
from lab.plugins.kubernetes.cluster import Cluster, Request
from lab.plugins.kubernetes.diff import ADD, DELETE, Difference, compare
from lab.plugins.kubernetes.failures import CLUSTER_ERRORS, partly_done, refused
from lab.plugins.kubernetes.kinds import is_patch, kind_of_urn
from lab.plugins.kubernetes.normalize import normalize
from lab.plugins.kubernetes.objects import (
    REPLACE_UNREADY,
    Object,
    annotation,
    is_kind,
    label,
    name_of,
    object_id,
    prune,
    set_field,
    split_id,
    text,
)
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.properties import decode, encode, has_unknown
from lab.plugins.protocol import Engine, RpcError, light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import provider_pb2

if TYPE_CHECKING:
    from lab.plugins.kubernetes.diff import Change

_MODES = {0: "propose", 1: "enforce", 2: "disable"}
_UNREACHABLE_HINT = (
    "If the cluster was deleted, remove its resources from the state by running again with "
    'PULUMI_K8S_DELETE_UNREACHABLE="true"'
)


class Resources:
    """All resources of one configured provider."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self.cluster = Cluster(settings)

    def check(self, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
        """Complete and normalise new inputs."""
        if self._settings.skip_update_unreachable and self.cluster.api.unreachable():
            self._engine.warning("the cluster is unreachable, nothing is changed", request.urn)
            return provider_pb2.CheckResponse(inputs=request.olds)
        autonaming = Naming(seed=request.randomSeed)
        if request.HasField("autonaming"):
            autonaming = Naming(
                seed=request.randomSeed,
                mode=_MODES[request.autonaming.mode],
                proposed=request.autonaming.proposed_name,
            )
        try:
            inputs = complete(
                request.urn,
                decode(request.olds),
                decode(request.news),
                settings=self._settings,
                default_namespace=self.cluster.api.default_namespace,
                namespaced=self.cluster.discovery.namespaced,
                autonaming=autonaming,
            )
        except InputsError as error:
            raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        if is_kind(inputs, "apiextensions.k8s.io", "CustomResourceDefinition"):
            self.cluster.discovery.learn(checkpoint.to_object(inputs))
        return provider_pb2.CheckResponse(inputs=encode(inputs))

    def diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        """Compare the state with new inputs, without the cluster."""
        news = decode(request.news)
        api_version, kind = text(news, "apiVersion"), text(news, "kind")
        difference = compare(
            decode(request.olds),
            news,
            settings=self._settings,
            namespaced=self.cluster.discovery.namespaced(api_version, kind) is not False,
            is_patch=is_patch(request.urn, kind),
            ignore_changes=request.ignoreChanges,
        )
        response = _diff_response(difference)
        if annotation(news, REPLACE_UNREADY) == "true" and self._unready_job(request):
            response.changes = provider_pb2.DiffResponse.DIFF_SOME
            response.replaces.append(f'.metadata.annotations["{REPLACE_UNREADY}"]')
            response.deleteBeforeReplace = difference.same_name
        return response

    def create(self, request: provider_pb2.CreateRequest) -> provider_pb2.CreateResponse:
        """Create an object, or let the server pretend to."""
        given = decode(request.properties)
        inputs = checkpoint.to_object(given)
        patching = is_patch(request.urn, text(inputs, "kind"))
        if request.preview and (
            patching
            or not self._settings.server_side_apply
            or has_unknown(inputs)
            or not self._can_preview(inputs)
        ):
            return provider_pb2.CreateResponse(properties=request.properties)
        manager = fields.manager_name(inputs, "", self._settings)
        version = text(inputs, "apiVersion")
        what = f"create {_label(inputs)}"
        failure: WaitError | None = None
        try:
            live = self.cluster.create(
                Request(
                    inputs=inputs,
                    manager=manager,
                    is_patch=patching,
                    preview=request.preview,
                    seconds=request.timeout,
                    say=self._say(request.urn),
                )
            )
        except WaitError as error:
            live, failure = error.live, error
        except CLUSTER_ERRORS as error:
            if request.preview and _spoils_preview(error):
                return provider_pb2.CreateResponse(properties=request.properties)
            raise refused(what, error, given) from error
        if request.preview:
            live.pop("status", None)
        outputs = checkpoint.build(
            inputs, live, given, initial_api_version=version, field_manager=manager
        )
        if failure is not None:
            raise partly_done(
                object_id(live), f"{_label(live)} was created, but is not ready", failure, outputs
            ) from failure
        return provider_pb2.CreateResponse(
            id="" if request.preview else object_id(live), properties=encode(outputs)
        )

    def update(self, request: provider_pb2.UpdateRequest) -> provider_pb2.UpdateResponse:
        """Bring an object to its new inputs, or let the server pretend to."""
        given, state = decode(request.news), decode(request.olds)
        inputs = normalize(checkpoint.to_object(given))
        if request.preview and (has_unknown(inputs) or not self._can_preview(inputs)):
            return provider_pb2.UpdateResponse(properties=request.news)
        old_inputs, old_live = checkpoint.parse(state)
        remembered = checkpoint.remembered_field_manager(state)
        manager = fields.manager_name(inputs, remembered, self._settings)
        failure: Exception | None = None
        try:
            live = self.cluster.update(
                Request(
                    inputs=inputs,
                    manager=manager,
                    is_patch=is_patch(request.urn, text(inputs, "kind")),
                    preview=request.preview,
                    seconds=request.timeout,
                    say=self._say(request.urn),
                    ignore_changes=list(request.ignoreChanges),
                    old_inputs=prune(old_live, normalize(old_inputs)),
                ),
                name_of(old_live),
            )
        except (WaitError, *CLUSTER_ERRORS) as error:
            if request.preview and isinstance(error, ApiError) and error.forbidden:
                return provider_pb2.UpdateResponse(properties=request.news)
            found = self._live_after(error, old_live)
            if found is None:
                raise refused(f"update {_label(inputs)}", error, given) from error
            live, failure = found, error
        outputs = checkpoint.build(
            inputs,
            live,
            given,
            initial_api_version=checkpoint.initial_api_version(state, old_inputs),
            field_manager=manager,
        )
        if failure is not None:
            message = f"the update of {_label(live)} did not succeed"
            raise partly_done(object_id(live), message, failure, outputs) from failure
        before = fields.manager_name(old_inputs, remembered, self._settings)
        if self._settings.server_side_apply and not request.preview and before != manager:
            self.cluster.give_up(self.cluster.discovery.path_of(live), live, before)
        return provider_pb2.UpdateResponse(properties=encode(outputs))

    def read(self, request: provider_pb2.ReadRequest) -> provider_pb2.ReadResponse:
        """Read an object for a refresh or an import."""
        unreachable = self.cluster.api.unreachable()
        if unreachable:
            return self._read_unreachable(request, unreachable)
        state, marks = decode(request.properties), decode(request.inputs)
        namespace, name = split_id(request.id)
        old_inputs = normalize(checkpoint.to_object(marks))
        _remembered, old_live = checkpoint.parse(state)
        imported = not text(old_inputs, "kind") and not text(old_live, "kind")
        if not text(old_inputs, "kind"):
            self._identify(old_inputs, old_live, request.urn, namespace, name)
        manager = fields.manager_name(
            old_inputs, checkpoint.remembered_field_manager(state), self._settings
        )
        version = checkpoint.initial_api_version(state, old_inputs)
        failure: WaitError | None = None
        try:
            live = self.cluster.read(old_inputs, name, awaited=not imported)
        except WaitError as error:
            live, failure = error.live, error
        except CLUSTER_ERRORS as error:
            raise refused(f"read {_label(old_inputs)}", error, old_inputs) from error
        if live is None:
            return provider_pb2.ReadResponse()
        inputs = checkpoint.imported_inputs(live) if imported else prune(live, old_inputs)
        outputs = checkpoint.build(
            inputs, live, marks, initial_api_version=version, field_manager=manager
        )
        properties = checkpoint.to_properties(inputs, marks)
        identifier = request.id or object_id(live)
        if failure is not None:
            message = f"{_label(live)} exists, but is not ready"
            raise partly_done(identifier, message, failure, outputs, properties) from failure
        return provider_pb2.ReadResponse(
            id=identifier, properties=encode(outputs), inputs=encode(properties)
        )

    def delete(self, request: provider_pb2.DeleteRequest) -> None:
        """Delete an object and wait until it is gone."""
        state = decode(request.properties)
        inputs, live = checkpoint.parse(state)
        _namespace, name = split_id(request.id)
        unreachable = self.cluster.api.unreachable()
        if unreachable and self._settings.delete_unreachable:
            self._engine.info(f"{unreachable}. Forgotten, as asked", request.urn)
            return
        if unreachable:
            raise RpcError(grpc.StatusCode.UNAVAILABLE, f"{unreachable}. {_UNREACHABLE_HINT}")
        manager = fields.manager_name(
            inputs, checkpoint.remembered_field_manager(state), self._settings
        )
        patching = is_patch(request.urn, text(live, "kind"))
        try:
            self.cluster.delete(
                live,
                Request(
                    inputs=inputs,
                    manager=manager,
                    is_patch=patching,
                    seconds=request.timeout,
                    say=self._say(request.urn),
                ),
                name,
            )
        except WaitError as error:
            version = checkpoint.initial_api_version(state, inputs)
            outputs = checkpoint.build(
                inputs, error.live, state, initial_api_version=version, field_manager=manager
            )
            message = f"the deletion of {_label(live)} has not finished"
            raise partly_done(object_id(error.live), message, error, outputs) from error
        except CLUSTER_ERRORS as error:
            if patching and isinstance(error, ApiError) and error.invalid:
                error = ApiError(
                    error.code,
                    error.reason,
                    "this Patch resource manages a required field, so it cannot be given up; set "
                    f"`retainOnDelete` or hand the field over first ({error})",
                    error.details,
                )
            raise refused(f"delete {_label(live)}", error, state) from error

    def _can_preview(self, inputs: Object) -> bool:
        unreachable = self.cluster.api.unreachable()
        if unreachable:
            self._warn_unreachable(unreachable)
        return not unreachable and self.cluster.discovery.exists(inputs)

    def _warn_unreachable(self, reason: str) -> None:
        self._engine.say_in_run(
            "unreachable", f"{reason}. The preview is made without it", warning=True
        )

    def _read_unreachable(
        self, request: provider_pb2.ReadRequest, reason: str
    ) -> provider_pb2.ReadResponse:
        if self._settings.delete_unreachable:
            self._engine.info(f"{reason}. Forgotten, as asked", request.urn)
            return provider_pb2.ReadResponse()
        if self._settings.skip_update_unreachable:
            self._engine.info(f"{reason}. The state is kept as it is", request.urn)
            return provider_pb2.ReadResponse(
                id=request.id, properties=request.properties, inputs=request.inputs
            )
        raise RpcError(grpc.StatusCode.UNAVAILABLE, f"{reason}. {_UNREACHABLE_HINT}")

    def _identify(self, inputs: Object, live: Object, urn: str, namespace: str, name: str) -> None:
        """Fill in what inputs need to be read, from the state or from the URN and the id."""
        api_version, kind = text(live, "apiVersion"), text(live, "kind")
        if not kind:
            try:
                api_version, kind = kind_of_urn(urn)
            except ValueError as error:
                raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
            kind = kind.removesuffix("Patch") if is_patch_kind(urn) else kind
        inputs.update(apiVersion=api_version, kind=kind)
        if not name_of(inputs):
            set_field(inputs, name, "metadata", "name")
        if namespace and not text(inputs, "metadata", "namespace"):
            set_field(inputs, namespace, "metadata", "namespace")

    def _live_after(self, error: Exception, old_live: Object) -> Object | None:
        """Return the object after a failed update, None when the cluster will not say."""
        if isinstance(error, WaitError):
            return error.live
        try:
            return self.cluster.read_path(self.cluster.discovery.path_of(old_live))
        except CLUSTER_ERRORS:
            return None

    def _unready_job(self, request: provider_pb2.DiffRequest) -> bool:
        _inputs, live = checkpoint.parse(decode(request.olds))
        if text(live, "kind") != "Job":
            self._engine.warning("replaceUnready is supported for Jobs only", request.urn)
            return False
        try:
            found = self.cluster.read_path(self.cluster.discovery.path_of(live))
        except CLUSTER_ERRORS:
            return False
        return found is not None and not JobComplete(found).met(0.0)

    def _say(self, urn: str) -> Callable[[str, bool], None]:
        return lambda message, warning: self._engine.status(message, urn, warning=warning)


def _diff_response(difference: Difference) -> provider_pb2.DiffResponse:
    response = provider_pb2.DiffResponse(
        changes=(
            provider_pb2.DiffResponse.DIFF_SOME
            if difference.changes
            else provider_pb2.DiffResponse.DIFF_NONE
        ),
        replaces=difference.replaces,
        deleteBeforeReplace=difference.delete_before_replace,
        hasDetailedDiff=True,
    )
    for change in difference.changes:
        response.detailedDiff[change.path].CopyFrom(
            provider_pb2.PropertyDiff(kind=_kind(change), inputDiff=change.kind == DELETE)
        )
    return response


def _kind(change: Change) -> provider_pb2.PropertyDiff.Kind.ValueType:
    kinds = provider_pb2.PropertyDiff
    if change.kind == ADD:
        return kinds.ADD_REPLACE if change.replaces else kinds.ADD
    if change.kind == DELETE:
        return kinds.DELETE_REPLACE if change.replaces else kinds.DELETE
    return kinds.UPDATE_REPLACE if change.replaces else kinds.UPDATE


def _spoils_preview(error: Exception) -> bool:
    """Say whether the server cannot pretend now, but the real creation may work."""
    if not isinstance(error, ApiError):
        return True
    return (
        error.forbidden
        or error.namespace_missing
        or error.already_exists
        or "does not support dry run" in str(error)
    )


def _label(obj: Object) -> str:
    return f"{text(obj, 'kind')} {label(obj)}"
