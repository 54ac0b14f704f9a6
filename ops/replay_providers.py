"""How a program's own providers reach what they manage: as they do now, not as a release did. Pure.

Credentials that were rotated since, a cluster that has another address: what a release was deployed
with may be dead or lead elsewhere, and a state that holds it again locks its owner out, since every
later update begins with it. So the settings of a connection stay as the present state has them,
which the present program put there; a provider's other settings are the release's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ops.checkpoint import Resource, is_secret, plain

_KUBERNETES = "pulumi:providers:kubernetes"
_OF_KUBERNETES = frozenset({"kubeconfig", "context", "cluster", "clusterIdentifier"})
"""The last one says which cluster it is: another one has every object made anew."""
_CONNECTS = re.compile(
    r"token|passw|secret|credential|key$|keys$|endpoint|urls?$|uri$|host$|address|profile|cert"
    r"|kubeconfig|context|^user$|username|insecure|proxy|assumerole|session|auth",
    re.IGNORECASE,
)
"""How the settings of a connection are called, of providers of any kind. Not what says where things
are to be, such as a region: that is the release's."""


@dataclass(frozen=True)
class Connected:
    """Providers that reach what they manage as they do now.

    Attributes:
        targets: The resources of the release, in the order they had.
        kept: Which settings stay as they are, a line a provider.
        swaps: Values of the release, and what is current in their place.
    """

    targets: tuple[Resource, ...] = field(repr=False)
    kept: tuple[str, ...] = ()
    swaps: tuple[tuple[Any, Any], ...] = field(default=(), repr=False)


def connected(targets: Sequence[Resource], present: Mapping[str, Resource]) -> Connected:
    """Give a release's providers the connections that they have now.

    Args:
        targets: The resources of the release.
        present: What is deployed now, by URN.
    """
    made, kept, swaps = [], [], []
    for item in targets:
        now = present.get(item.urn)
        differing = () if now is None or not item.is_provider else tuple(_differing(item, now))
        if now is None or not differing:
            made.append(item)
            continue
        rest = {name: it for name, it in item.inputs.items() if name not in differing}
        ours = {name: now.inputs[name] for name in differing if name in now.inputs}
        made.append(replace(item, inputs={**rest, **ours}))
        kept.append(f"provider {item.name}: {', '.join(differing)}")
        swaps += [
            (plain(item.inputs[name]), plain(ours[name]))
            for name in differing
            if name in ours and is_secret(item.inputs.get(name))
        ]
    return Connected(tuple(made), tuple(kept), tuple(swaps))


def _differing(item: Resource, now: Resource) -> Iterator[str]:
    for name in sorted({*item.inputs, *now.inputs}):
        before, after = item.inputs.get(name), now.inputs.get(name)
        if plain(before) == plain(after):
            continue
        of_kubernetes = item.type == _KUBERNETES and name in _OF_KUBERNETES
        other = item.type != _KUBERNETES and (
            is_secret(before) or is_secret(after) or _CONNECTS.search(name) is not None
        )
        if of_kubernetes or other:
            yield name
