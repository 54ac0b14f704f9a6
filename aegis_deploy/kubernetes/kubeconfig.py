"""What kubeconfigs say: which file is meant, and what it has under a context.

A file by itself is read here. Several that count as one are merged by the official client, whose
import takes half a second.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DEFAULT = "~/.kube/config"
_FILES = frozenset({"certificate-authority", "client-certificate", "client-key", "tokenFile"})
"""Where a kubeconfig names files, relative to itself."""


def alone(given: str | None) -> dict[str, Any] | None:
    """Read a kubeconfig that is one document; files that it names, by their whole paths.

    Args:
        given: It, or its path; None means ``KUBECONFIG``, or the home directory's.

    Returns:
        The document; None where there is none, or several are to be merged, or it is none.
    """
    import yaml

    if given and not _is_path(given):
        found = yaml.safe_load(given)
        return found if isinstance(found, dict) else None
    named = (Path(it).expanduser() for it in _places(given).split(os.pathsep) if it)
    there = [it for it in named if it.exists()]
    found = yaml.safe_load(there[0].read_text()) if len(there) == 1 else None
    if not isinstance(found, dict):
        return None
    for section in ("clusters", "users"):
        for item in found.get(section) or ():
            if isinstance(item, dict):
                _whole_paths(item.get(section[:-1]) or {}, there[0])
    return found


def merged(given: str | None, *, required: bool) -> Any:  # noqa: ANN401 - the client's own
    """Have the official client read a kubeconfig, or all those that count as one.

    Args:
        given: As `alone` takes it.
        required: Whether there has to be one.

    Returns:
        The document, or what the client has in its place; None where there is none.

    Raises:
        ValueError: There is none, and it is required.
    """
    if given and not _is_path(given):
        import yaml

        return yaml.safe_load(given)
    from kubernetes.config.kube_config import KubeConfigMerger

    # Several may be named in the variable, of which some may not be there.
    found = KubeConfigMerger(_places(given)).config
    if found is None and required:
        raise ValueError(f"{_places(given)} is not there")
    return found


def destination(
    context: str | None = None, kubeconfig: str | None = None, cluster: str | None = None
) -> str:
    """Say where a connection leads and as whom, the same for all that lead there so.

    It holds credentials: it is to be compared, not shown. Nothing is sent.

    Args:
        context: As `client.connect` takes it.
        kubeconfig: Likewise.
        cluster: Likewise.

    Raises:
        ValueError: There is no usable kubeconfig.
    """
    try:
        found = alone(kubeconfig)
        if found is None:
            found = merged(kubeconfig, required=bool(kubeconfig or context or cluster))
        if found is None:
            return "the account of the pod this runs in"
        place, user = chosen(found, context, cluster)
    except Exception as error:
        raise ValueError(unusable(error)) from error
    place["server"] = str(place.get("server") or "").rstrip("/")
    return json.dumps([place, user], sort_keys=True, default=str)


def chosen(
    found: Any,  # noqa: ANN401 - a document, or what the client has in its place
    context: str | None,
    cluster: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cluster and the user that a context means; files by their whole paths.

    Args:
        found: The kubeconfig.
        context: The context; None means the current one.
        cluster: The name of the cluster; None means the one that the context names.

    Raises:
        ValueError: It has no such context, cluster or user.
    """
    document = _inside(found)
    meant = _entry(document, "contexts", context or document.get("current-context"))
    place = _entry(document, "clusters", cluster or meant.get("cluster"))
    return place, _entry(document, "users", meant["user"]) if meant.get("user") else {}


def redirect(found: Any, context: str | None, cluster: str) -> None:  # noqa: ANN401
    """Have a context lead to another of the kubeconfig's clusters, in memory.

    Args:
        found: The kubeconfig, as `merged` returns it.
        context: The context; None means the current one.
        cluster: The cluster's name.

    Raises:
        ValueError: It has no such context or cluster.
    """
    document = _inside(found)
    _item(document, "clusters", cluster)
    meant = _inside(_item(document, "contexts", context or document.get("current-context")))
    meant["context"] = {**(meant.get("context") or {}), "cluster": cluster}


def unusable(error: Exception) -> str:
    """Say why a kubeconfig cannot be used, without a word of what is in it."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    return f"line {mark.line + 1} of it is no YAML: {getattr(error, 'problem', None)}"


def _places(given: str | None) -> str:
    return given or os.environ.get("KUBECONFIG", _DEFAULT)


def _is_path(kubeconfig: str) -> bool:
    """Whether a kubeconfig is given by where it is, rather than itself."""
    # A whole one on one line is no name of a file, being too long for one.
    return "\n" not in kubeconfig and not kubeconfig.lstrip().startswith("{")


def _inside(node: Any) -> Any:  # noqa: ANN401
    return getattr(node, "value", node)


def _item(document: Mapping[str, Any], section: str, name: object) -> Any:  # noqa: ANN401
    items = document.get(section) or ()
    found = next((it for it in items if _inside(it).get("name") == name), None)
    if found is None:
        raise ValueError(f"the kubeconfig has no {section[:-1]} {name}")
    return found


def _entry(document: Mapping[str, Any], section: str, name: object) -> dict[str, Any]:
    found = _item(document, section, name)
    entry = dict(_inside(found).get(section[:-1]) or {})
    if getattr(found, "path", None):
        _whole_paths(entry, Path(str(found.path)))
    return entry


def _whole_paths(entry: dict[str, Any], kubeconfig: Path) -> None:
    for key in _FILES & entry.keys():
        entry[key] = str(kubeconfig.parent / str(entry[key]))
