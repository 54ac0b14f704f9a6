"""Kubeconfig files: found, merged, with a context chosen.

Owns reading only; credentials are loaded by the official client from what this returns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECTIONS = (("clusters", "cluster"), ("contexts", "context"), ("users", "user"))
_PATH_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class KubeconfigError(Exception):
    """A kubeconfig that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Kubeconfig:
    """A merged kubeconfig and the choice made in it.

    Attributes:
        document: The whole merged file, with absolute paths and the overrides applied.
        context: The name of the chosen context.
        namespace: The namespace for objects that name none.
        server: The API server's address, "" when the context leads to none.
        origin: Where it was read from, for messages.
    """

    document: dict[str, Any]
    context: str
    namespace: str
    server: str
    origin: str


def load_kubeconfig(
    path_or_contents: str = "", *, context: str = "", cluster: str = "", namespace: str = ""
) -> Kubeconfig:
    """Find, merge and read the kubeconfig.

    Args:
        path_or_contents: A file, or YAML or JSON text; "" takes $KUBECONFIG, else
            ``~/.kube/config``.
        context: Overrides the current context.
        cluster: Overrides the context's cluster.
        namespace: Overrides the context's namespace.

    Raises:
        KubeconfigError: There is none, it is malformed, or it has no such context or cluster.
    """
    document, origin = _read(path_or_contents)
    chosen = context or str(document.get("current-context") or "")
    entry = _named(document, "contexts", chosen)
    if entry is None:
        known = ", ".join(sorted(str(item.get("name")) for item in document["contexts"])) or "none"
        raise KubeconfigError(
            f"{origin} has no context {chosen!r} (it has: {known})"
            if chosen
            else f"{origin} has no current-context (it has: {known})"
        )
    details = dict(entry.get("context") or {})
    if cluster:
        details["cluster"] = cluster
        entry["context"] = details
    target = _named(document, "clusters", str(details.get("cluster") or ""))
    if target is None:
        raise KubeconfigError(f"{origin} has no cluster {details.get('cluster')!r}")
    return Kubeconfig(
        document=document,
        context=chosen,
        namespace=namespace or str(details.get("namespace") or "") or "default",
        server=str((target.get("cluster") or {}).get("server") or ""),
        origin=origin,
    )


def active_cluster(path_or_contents: str, context: str, cluster: str) -> dict[str, Any] | None:
    """Return the settings of the cluster a kubeconfig leads to, None when it leads nowhere."""
    try:
        config = load_kubeconfig(path_or_contents, context=context, cluster=cluster)
    except KubeconfigError:
        return None
    name = (_named(config.document, "contexts", config.context) or {})["context"].get("cluster")
    found = _named(config.document, "clusters", str(name)) or {}
    return dict(found.get("cluster") or {})


def _read(path_or_contents: str) -> tuple[dict[str, Any], str]:
    if path_or_contents:
        path = Path(path_or_contents).expanduser() if "\n" not in path_or_contents else None
        try:
            is_file = path is not None and path.exists()
        except OSError:
            is_file = False
        if path is None or not is_file:
            return _merge([(_parse(path_or_contents, "kubernetes:kubeconfig"), None)]), (
                "the kubeconfig in kubernetes:kubeconfig"
            )
        files = [path]
    else:
        listed = os.environ.get("KUBECONFIG", "")
        files = [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
        files = files or [Path.home() / ".kube" / "config"]
    documents = [
        (_parse(_contents(path), str(path)), path.resolve().parent)
        for path in files
        if path.is_file()
    ]
    origin = "kubeconfig " + ", ".join(map(str, files))
    if not documents:
        raise KubeconfigError(f"there is no {origin}; set KUBECONFIG or kubernetes:kubeconfig")
    return _merge(documents), origin


def _contents(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {error.strerror}") from None


def _parse(contents: str, origin: str) -> dict[str, Any]:
    try:
        document = json.loads(contents) if contents.lstrip().startswith("{") else _yaml(contents)
    except ValueError as error:
        raise KubeconfigError(f"{origin} is neither a file nor a kubeconfig: {error}") from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise KubeconfigError(f"{origin} is neither a file nor a kubeconfig")
    return document


def _yaml(contents: str) -> object:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(contents, Loader=loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _merge(documents: Sequence[tuple[dict[str, Any], Path | None]]) -> dict[str, Any]:
    """Merge as kubectl does: the first file that has a name or the current context wins."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": ""}
    for section, _ in _SECTIONS:
        merged[section] = []
    for document, directory in documents:
        merged["current-context"] = merged["current-context"] or document.get("current-context")
        for section, member in _SECTIONS:
            for item in document.get(section) or ():
                if isinstance(item, dict) and _named(merged, section, item.get("name")) is None:
                    merged[section].append(_absolute(item, member, directory))
    return merged


def _absolute(item: dict[str, Any], member: str, directory: Path | None) -> dict[str, Any]:
    details = dict(item.get(member) or {})
    for field in _PATH_FIELDS:
        if directory is not None and isinstance(details.get(field), str):
            details[field] = str(directory / details[field])
    return {**item, member: details}


def _named(document: dict[str, Any], section: str, name: object) -> dict[str, Any] | None:
    for item in document.get(section) or ():
        if isinstance(item, dict) and item.get("name") == name:
            return item
    return None
