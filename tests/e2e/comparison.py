"""Whether the cluster holds what a release recorded: live objects against a checkpoint.

The checkpoint, not the state: a rollback that left the wrong thing in both would satisfy the
state. Whole objects are compared, configuration and secrets to the byte, and what the release
does not have must not be there. Nothing secret is ever in what is returned.

    assert unlike_release(at, "staging", 12) == []
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aegis_deploy.model.signatures import is_secret
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.checkpoint import Resource
from aegis_deploy.stack.session import Session
from tests.e2e.live_cluster import live_cluster

Object = Mapping[str, Any]

_LEFT_OVER = (
    *("configmap", "secret", "deployment", "replicaset", "statefulset", "daemonset", "job"),
    *("service", "serviceaccount", "poddisruptionbudget", "networkpolicy", "resourcequota"),
    "limitrange",
)
"""The kinds of which a namespace may hold nothing but what the release has."""
_MADE_BY_THE_CLUSTER = ("ConfigMap kube-root-ca.crt", "ServiceAccount default")
_PROVIDERS_OWN = ("__inputs", "__initialApiVersion", "__fieldManager")
_TO_THE_BYTE = ("data", "binaryData", "stringData")
_VOLATILE = frozenset(
    {
        "creationTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
        # Another one each time its object is made anew.
        "batch.kubernetes.io/controller-uid",
        "clusterIP",
        "clusterIPs",
        "controller-uid",
        "deployment.kubernetes.io/revision",
    }
)


class Stack(Protocol):
    """What a stand has: where its program is, and the environment of its commands."""

    @property
    def directory(self) -> Path:
        """The program's directory."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""


def unlike_release(
    at: Stack, stack: str, number: int, *, ignore: Collection[str] = ()
) -> list[str]:
    """Say in what the cluster differs from what a release recorded.

    Args:
        at: The stand: its directory and environment.
        stack: The stack's name.
        number: The release, as `aegis history` numbers it.
        ignore: Beginnings of differences that are meant, such as ``Secret web: data.PASSWORD``.

    Returns:
        The differences, a line each; none when the cluster is as the release left it.
    """
    session = Session.open(stack, at.directory, at.environment)
    release = next(item for item in session.store.releases() if item.number == number)
    recorded = checkpoint.load(session, release).resources
    found = differences(recorded, live_objects(recorded, at.environment))
    return [line for line in found if not line.startswith(tuple(ignore) or ("\0",))]


def differences(recorded: Iterable[Resource], live: Sequence[Object]) -> list[str]:
    """Say in what live objects differ from recorded ones. Pure.

    Args:
        recorded: A checkpoint's resources, decrypted.
        live: The objects there are: those of the release, and whatever else is in its namespaces.
    """
    wanted = {_key(item.outputs): item for item in _managed(recorded)}
    there = {_key(item): item for item in live}
    lines = []
    for key, item in wanted.items():
        name = f"{item.type.rpartition(':')[2]} {key[2]}"
        if key not in there:
            lines.append(f"{name}: is not there")
            continue
        hidden = item.type.endswith(":Secret")
        # The object as it was, and what was declared of it: outputs can be older than inputs.
        found = there[key]
        lines += [f"{name}: {line}" for line in _unlike(_declared(item.outputs), found, hidden)]
        lines += [
            f"{name}: {line} (declared)"
            for line in _lacks(_declared(item.inputs), _declared(found), hidden)
        ]
    lines += [
        f"{item['kind']} {key[2]}: is there, and the release does not have it"
        for key, item in there.items()
        if key not in wanted and not _of_the_cluster(item)
    ]
    return sorted(set(lines))


def live_objects(recorded: Iterable[Resource], environment: Mapping[str, str]) -> list[Object]:
    """Read a release's objects, and what else is in its namespaces, from the cluster.

    Args:
        recorded: The checkpoint's resources.
        environment: Its `KUBECONFIG` leads to the cluster; an empty one means this process's.
    """
    cluster = live_cluster(environment or os.environ)
    found: dict[str, Object] = {}
    namespaces = set()
    for item in _managed(recorded):
        group, _, version = str(item.outputs["apiVersion"]).rpartition("/")
        metadata = item.outputs["metadata"]
        namespace = metadata.get("namespace")
        there = cluster.find(
            f"{item.outputs['kind']}.{version}.{group}", metadata["name"], namespace
        )
        if there is not None:
            found[there["metadata"]["uid"]] = there
        namespaces |= {str(namespace)} if namespace else set()
    for namespace in sorted(namespaces):
        for kind in _LEFT_OVER:
            found |= {it["metadata"]["uid"]: it for it in cluster.objects(kind, namespace)}
    return list(found.values())


def _managed(recorded: Iterable[Resource]) -> Iterator[Resource]:
    for item in recorded:
        metadata = item.outputs.get("metadata")
        is_object = item.custom and not item.external and item.type.startswith("kubernetes:")
        if is_object and item.alive and isinstance(metadata, Mapping) and metadata.get("name"):
            yield item


def _key(item: Object) -> tuple[str, str, str]:
    metadata = item["metadata"]
    group = str(item["apiVersion"]).rpartition("/")[0]
    return f"{group}/{item['kind']}", metadata.get("namespace") or "", metadata["name"]


def _of_the_cluster(item: Object) -> bool:
    metadata = item["metadata"]
    return bool(
        metadata.get("ownerReferences")
        or metadata.get("deletionTimestamp")
        or f"{item['kind']} {metadata['name']}" in _MADE_BY_THE_CLUSTER
    )


def _unlike(recorded: Any, found: Object, hidden: bool) -> list[str]:
    return list(_between(recorded, _declared(found), "", hidden, whole=True))


def _lacks(declared: Any, found: Any, hidden: bool) -> list[str]:
    declared = dict(declared)
    if hidden:
        # What was given as text is in base64 in the cluster; the recorded object has it so.
        declared.pop("stringData", None)
    return list(_between(declared, found, "", hidden, whole=False))


def _between(
    recorded: Any,
    found: Any,
    path: str,
    hidden: bool,
    *,
    whole: bool,
) -> Iterator[str]:
    """Go through two values; ``whole`` says that nothing may be there which was not recorded."""
    if is_secret(recorded):
        recorded, hidden = recorded["value"], True
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        names = {*recorded, *(found if whole else ())}
        for name in sorted(map(str, names)):
            inner = f"{path}.{name}" if path else name
            if name not in found:
                yield f"{inner} is gone"
            elif name not in recorded:
                yield f"{inner} is there, and was not"
            else:
                yield from _between(recorded[name], found[name], inner, hidden, whole=whole)
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for place, (old, new) in enumerate(zip(recorded, found, strict=True)):
            yield from _between(old, new, f"{path}[{place}]", hidden, whole=whole)
    elif recorded != found:
        said = "" if hidden else f": {json.dumps(found)[:80]}, was {json.dumps(recorded)[:80]}"
        yield f"{path} is another{said}"


def _declared(item: Any) -> Any:
    """An object without what the cluster writes into it by itself."""
    own = ("status", *_PROVIDERS_OWN)
    return {
        # Whatever a key of the data is called, it counts.
        key: value if key in _TO_THE_BYTE else _steady(value)
        for key, value in item.items()
        if key not in own and value is not None
    }


def _steady(value: Any) -> Any:
    """A value without what changes by itself, and without what is empty or null."""
    if is_secret(value):
        return {**value, "value": _steady(value["value"])}
    if isinstance(value, Mapping):
        # Pulumi's schema writes these names with what may stand in a variable's name.
        inner = {
            name.replace("_", "-") if name.startswith("x_kubernetes_") else name: _steady(it)
            for name, it in value.items()
            if name not in _VOLATILE
        }
        return {name: it for name, it in inner.items() if it is not None and it != {}}
    return [_steady(it) for it in value] if isinstance(value, list) else value
