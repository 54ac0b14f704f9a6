"""Inputs made complete: names, namespaces and the normal form, as the official provider does.

Pure but for one question, whether a kind that is not built in lives in a namespace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.plugins.kubernetes import checkpoint, naming
from lab.plugins.kubernetes.kinds import is_list, is_patch, kind_of_urn, urn_name
from lab.plugins.kubernetes.normalize import normalize
from lab.plugins.kubernetes.objects import Object, name_of, nested, set_field, text
from lab.plugins.kubernetes.settings import Settings

_MANAGED_BY = "app.kubernetes.io/managed-by"


class InputsError(Exception):
    """Inputs that can never work; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What the engine says about automatic names."""

    seed: bytes = b""
    mode: str = ""
    proposed: str = ""


def complete(
    urn: str,
    old_inputs: Mapping[str, Any],
    new_inputs: Mapping[str, Any],
    *,
    settings: Settings,
    default_namespace: str,
    namespaced: Callable[[str, str], bool | None],
    autonaming: Naming,
) -> dict[str, Any]:
    """Return the inputs to keep in the state and to compare from now on.

    Args:
        urn: The resource's URN.
        old_inputs: The inputs in the state, empty for a new resource.
        new_inputs: The program's inputs, with secret marks.
        settings: The provider's settings.
        default_namespace: For objects that name none.
        namespaced: Says whether a kind lives in a namespace; None when nobody knows.
        autonaming: How to name a new object without a name.

    Raises:
        InputsError: The inputs cannot work.
    """
    if is_list(urn):
        raise InputsError(
            "list resources exist for compatibility with YAML manifests and Helm charts, and "
            "cannot be created directly; use the underlying resource type instead"
        )
    old = checkpoint.to_object(old_inputs)
    new = normalize(checkpoint.to_object(new_inputs))
    _check_patch(urn, new, settings)
    _name(urn, old, new, settings=settings, autonaming=autonaming)
    try:
        api_version, kind = kind_of_urn(urn)
    except ValueError as error:
        raise InputsError(str(error)) from None
    if nested(new, "metadata", "namespace") in (None, "") and default_namespace:
        scope = namespaced(api_version, kind.removesuffix("Patch") if is_patch_kind(urn) else kind)
        if scope is not False:
            set_field(new, default_namespace, "metadata", "namespace")
    return checkpoint.to_properties(new, new_inputs)


def is_patch_kind(urn: str) -> bool:
    """Say whether a resource's type is a Patch of a built-in kind."""
    try:
        _api_version, kind = kind_of_urn(urn)
    except ValueError:
        return False
    return kind.endswith("Patch") and is_patch(urn, kind.removesuffix("Patch"))


def _check_patch(urn: str, new: Object, settings: Settings) -> None:
    if not is_patch(urn, text(new, "kind")):
        return
    if not settings.server_side_apply:
        raise InputsError(
            "patch resources require Server-Side Apply mode, which is enabled using the "
            "`enableServerSideApply` Provider config"
        )
    if not name_of(new):
        raise InputsError("patch resources require the `.metadata.name` field to be set")


def _name(urn: str, old: Object, new: Object, *, settings: Settings, autonaming: Naming) -> None:
    managed_by = os.environ.get("PULUMI_KUBERNETES_MANAGED_BY_LABEL", "pulumi")
    if old:
        naming.adopt_old_name(new, old)
        if nested(old, "metadata", "labels", _MANAGED_BY) == managed_by:
            set_field(new, managed_by, "metadata", "labels", _MANAGED_BY)
    else:
        try:
            naming.assign_name(
                new,
                resource=urn_name(urn),
                seed=autonaming.seed,
                mode=autonaming.mode,
                proposed=autonaming.proposed,
            )
        except naming.NamingDisabledError as error:
            raise InputsError(str(error)) from None
        if not settings.server_side_apply:
            set_field(new, managed_by, "metadata", "labels", _MANAGED_BY)
    if settings.server_side_apply and naming.is_generate_name(new):
        raise InputsError(
            "the `.metadata.generateName` field is not supported in Server-Side Apply mode"
        )
