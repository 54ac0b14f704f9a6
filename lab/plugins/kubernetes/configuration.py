"""The provider resource itself: its configuration checked, compared and taken up."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from lab.plugins.kubernetes.kinds import urn_name, urn_type
from lab.plugins.kubernetes.kubeconfig import active_cluster
from lab.plugins.properties import UNKNOWN, plain

_ACTIVE = ("kubeconfig", "context", "cluster")
_IDENTIFIER = "clusterIdentifier"


def strict_mode_failures(urn: str, news: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what strict mode forbids in a provider's configuration, as (property, reason)."""
    strict = plain(news.get("strictMode")) or _stack_config().get("strictMode")
    if strict != "true" or not urn_type(urn).startswith("pulumi:providers:"):
        return []
    failures = []
    if urn_name(urn).startswith("default"):
        failures.append(("", "strict mode prohibits default provider"))
    failures += [
        (key, f'strict mode requires Provider "{key}" argument')
        for key in ("kubeconfig", "context")
        if not plain(news.get(key))
    ]
    return failures


def changed_settings(
    olds: Mapping[str, Any], news: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Compare two configurations of a provider.

    Args:
        olds: The configuration in the state.
        news: The program's.

    Returns:
        The keys that differ, and those of them that replace the provider (and everything it
        manages), which a change of the active cluster does.
    """
    old, new = plain(dict(olds)), plain(dict(news))
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    replaces = []
    both = _IDENTIFIER in old and _IDENTIFIER in new
    if both and _IDENTIFIER in changed:
        replaces.append(_IDENTIFIER)
    unknown = [key for key in _ACTIVE if new.get(key) is UNKNOWN]
    if unknown:
        replaces += unknown[:1]
    else:
        before, after = _active(old), _active(new)
        if before and after and before != after:
            replaces += [key for key in _ACTIVE if key in changed]
    if both and _IDENTIFIER not in changed:
        replaces = []
    return changed, replaces


def _active(config: Mapping[str, Any]) -> dict[str, Any] | None:
    kubeconfig = config.get("kubeconfig")
    if not kubeconfig:
        return None
    contents = kubeconfig if isinstance(kubeconfig, str) else json.dumps(kubeconfig)
    return active_cluster(
        contents, str(config.get("context") or ""), str(config.get("cluster") or "")
    )


def _stack_config() -> dict[str, Any]:
    try:
        config = json.loads(os.environ.get("PULUMI_CONFIG") or "{}")
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}
