"""Writing and reading one object on the cluster, with the waits that belong to it.

Each function does what the official provider's counterpart does: POST to create, apply patch to
update, foreground deletion, and retries for objects whose kind or namespace is still to come.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.plugins.kubernetes import fields, readiness
from lab.plugins.kubernetes.await_simple import Deleted
from lab.plugins.kubernetes.awaiting import (
    Cancellation,
    WaitError,
    Waiting,
    check_now,
    wait_for,
)
from lab.plugins.kubernetes.client import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Api, ApiError
from lab.plugins.kubernetes.diff import merge_patch
from lab.plugins.kubernetes.discovery import Discovery, UnknownKindError
from lab.plugins.kubernetes.objects import (
    DELETION_PROPAGATION,
    Object,
    annotation,
    is_kind,
    name_of,
    nested,
    set_field,
    text,
)
from lab.plugins.kubernetes.settings import Settings

_ATTEMPTS = 6
_DRY_RUN = {"dryRun": "All"}
_ALREADY_EXISTS = (
    "\n\nThe object already exists in the cluster. Either a Pulumi resource was renamed (give it "
    "an alias), or the object is managed by someone else (use a Patch resource), or it should "
    "be taken over (`pulumi import`, or the provider's upsertExistingObjects)."
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One object to write, and how.

    Attributes:
        inputs: What the program wants.
        manager: The field manager of its apply patches.
        is_patch: Whether the resource only patches an object of someone else's.
        preview: Whether the server only pretends.
        seconds: The custom timeout, 0 for none.
        say: Shows a message beside the resource; the flag makes it a warning.
        ignore_changes: Property paths to leave as they are.
        old_inputs: What the program wanted before, which a client-side update starts from.
    """

    inputs: Object
    manager: str
    is_patch: bool = False
    preview: bool = False
    seconds: float = 0
    say: Callable[[str, bool], None] = field(default=lambda _message, _warning: None)
    ignore_changes: list[str] = field(default_factory=list)
    old_inputs: Object = field(default_factory=dict)


class Cluster:
    """One cluster, as the settings name it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.api = Api(settings)
        self.discovery = Discovery(self.api)
        self.cancellation = Cancellation()

    def create(self, request: Request) -> Object:
        """Create an object and wait for it.

        Raises:
            WaitError: It exists now, but did not become ready.
            ApiError: The server refused it.
        """
        live = self._create_with_retries(request)
        if is_kind(live, "apiextensions.k8s.io", "CustomResourceDefinition"):
            self.discovery.forget()
        return live if request.preview else self._await(request, live, None)

    def update(self, request: Request, name: str) -> Object:
        """Bring an object to its new inputs and wait for it.

        Args:
            request: The new inputs.
            name: The object's name, as the state has it.

        Raises:
            WaitError: It was changed, but did not become ready.
            ApiError: The server refused the change.
        """
        mapping = self.discovery.mapping_of(request.inputs)
        path = mapping.path(text(request.inputs, "metadata", "namespace"), name)
        previous = self.api.get(path)
        inputs = copy.deepcopy(request.inputs)
        if is_kind(inputs, "apiextensions.k8s.io", "CustomResourceDefinition"):
            version = text(previous, "metadata", "resourceVersion")
            set_field(inputs, version, "metadata", "resourceVersion")
            live = self.api.replace(path, inputs, **self._query(request, request.manager))
        elif self._settings.server_side_apply:
            live = self._apply(path, inputs, previous, request)
        else:
            query = self._query(request, fields.CREATOR)
            patch = merge_patch(request.old_inputs, inputs)
            live = self.api.patch(path, MERGE_PATCH, patch, **query)
        return live if request.preview else self._await(request, live, previous)

    def delete(self, obj: Object, request: Request, name: str) -> None:
        """Delete an object and wait until it is gone; one that is gone already is fine.

        Args:
            obj: The object, as the state has it.
            request: The old inputs.
            name: The object's name.

        Raises:
            WaitError: It is still there.
            ApiError: The server refused.
        """
        try:
            path = self.discovery.mapping_of(obj).path(text(obj, "metadata", "namespace"), name)
        except UnknownKindError:
            return
        if request.is_patch and self._settings.server_side_apply:
            self.give_up(path, obj, request.manager)
            return
        policy = annotation(request.inputs, DELETION_PROPAGATION).capitalize()
        known = policy in ("Orphan", "Background")
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": policy if known else "Foreground",
        }
        try:
            answer = self.api.delete(path, options)
        except ApiError as error:
            if error.not_found:
                return
            raise
        at_once = answer.get("kind") != obj.get("kind")
        if at_once or readiness.skips_deletion_wait(request.inputs):
            return
        seconds = readiness.timeout(request.inputs, request.seconds)
        wait_for(Deleted(answer), self._waiting(request), seconds)

    def read(self, inputs: Object, name: str, *, awaited: bool) -> Object | None:
        """Return an object as it is, None when there is none.

        Args:
            inputs: Its kind, namespace and annotations.
            name: Its name.
            awaited: Whether to judge its readiness too.

        Raises:
            WaitError: It is there, but not ready.
        """
        try:
            mapping = self.discovery.mapping_of(inputs)
        except UnknownKindError:
            return None
        live = self.read_path(mapping.path(text(inputs, "metadata", "namespace"), name))
        if live is None or not awaited:
            return live
        condition = readiness.refresh_condition(inputs, live)
        if condition is None:
            return live
        check_now(condition, self._waiting(Request(inputs=inputs, manager="")))
        return condition.live

    def read_path(self, path: str) -> Object | None:
        """Return the object at a path, None when there is none."""
        try:
            return self.api.get(path)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def give_up(self, path: str, obj: Object, manager: str) -> None:
        """Give up every field a manager owns of an object."""
        try:
            self.api.patch(path, APPLY_PATCH, fields.identity_only(obj), fieldManager=manager)
        except ApiError as error:
            if not error.not_found:
                raise

    def _create_with_retries(self, request: Request) -> Object:
        """Create; what an object needs (namespace, definition) may appear a moment later."""
        delay = 1.0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._create_once(request)
            except (ApiError, UnknownKindError) as error:
                missing = isinstance(error, UnknownKindError) or error.not_found
                if not missing or request.preview or attempt == _ATTEMPTS:
                    raise self._explained(error, request) from error
                request.say(f"Retry #{attempt}; creation failed: {error}", False)
            self.cancellation.sleep(delay)
            if self.cancellation.cancelled:
                raise ApiError(0, "Cancelled", "creation was cancelled", {})
            delay *= 2
        raise AssertionError("the last attempt returns or raises")

    def _create_once(self, request: Request) -> Object:
        mapping = self.discovery.mapping_of(request.inputs)
        namespace = text(request.inputs, "metadata", "namespace")
        dry_run = _DRY_RUN if request.preview else {}
        if self._settings.server_side_apply and (self._settings.upsert or request.is_patch):
            forced = fields.forced(request.inputs, None, self._settings, preview=request.preview)
            return self.api.patch(
                mapping.path(namespace, name_of(request.inputs)),
                APPLY_PATCH,
                request.inputs,
                fieldManager=request.manager,
                force=str(forced).lower(),
                fieldValidation="Warn",
                **dry_run,
            )
        place = mapping.collection((namespace or "default") if mapping.namespaced else "")
        return self.api.create(place, request.inputs, fieldManager=fields.CREATOR, **dry_run)

    def _explained(self, error: Exception, request: Request) -> Exception:
        if not isinstance(error, ApiError):
            return error
        if error.already_exists and not request.preview:
            message = str(error) + _ALREADY_EXISTS
            return ApiError(error.code, error.reason, message, error.details)
        return _explain_conflict(error, request.manager)

    def _apply(self, path: str, inputs: Object, previous: Object, request: Request) -> Object:
        if not request.preview and not request.is_patch:
            entries = fields.take_over(previous, request.manager)
            if entries is not None:
                version = text(previous, "metadata", "resourceVersion")
                patch = [
                    {"op": "replace", "path": "/metadata/managedFields", "value": entries},
                    {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
                ]
                previous = self.api.patch(path, JSON_PATCH, patch)
        fields.leave_ignored(inputs, previous, request.manager, request.ignore_changes)
        forced = fields.forced(inputs, previous, self._settings, preview=request.preview)
        query = self._query(request, request.manager) | {"force": str(forced).lower()}
        try:
            return self.api.patch(path, APPLY_PATCH, inputs, **query)
        except ApiError as error:
            raise _explain_conflict(error, request.manager) from error

    @staticmethod
    def _query(request: Request, manager: str) -> dict[str, str]:
        return {"fieldManager": manager} | (_DRY_RUN if request.preview else {})

    def _await(self, request: Request, live: Object, previous: Object | None) -> Object:
        try:
            condition = readiness.condition_for(request.inputs, live, previous, self._bind_mode)
        except ValueError as error:
            raise WaitError(str(error), live, []) from None
        if condition is None:
            return live
        seconds = readiness.timeout(request.inputs, request.seconds)
        seconds = readiness.longest_wait(live, seconds)
        return wait_for(condition, self._waiting(request), seconds)

    def _waiting(self, request: Request) -> Waiting:
        return Waiting(self.api, self.discovery, self.cancellation, request.say)

    def _bind_mode(self, storage_class: str) -> str:
        try:
            found = self.read_path(f"/apis/storage.k8s.io/v1/storageclasses/{storage_class}")
        except ApiError:
            return ""
        return str(nested(found, "volumeBindingMode") or "")


def _explain_conflict(error: ApiError, manager: str) -> ApiError:
    if not error.conflict:
        return error
    return ApiError(
        error.code,
        error.reason,
        f"server-side apply field conflict: another manager owns fields that {manager!r} sets. "
        "Remove them from the program, or take them over with the annotation "
        f'pulumi.com/patchForce: "true".\n{error}',
        error.details,
    )
