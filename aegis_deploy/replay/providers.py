"""How providers reach what they manage: as they do now, not as a release did. Pure.

Credentials that were rotated since, a cluster that has another address: what a release was deployed
with may be dead or lead elsewhere, and a state that holds it again locks its owner out, since every
later update begins with it. So the settings of a connection stay as the present state has them,
which the present program put there; a provider's other settings are the release's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_deploy.model.signatures import is_secret
from aegis_deploy.replay.secrets import secrets_of
from aegis_deploy.stack.checkpoint import Resource, plain

_KUBERNETES = "kubernetes"
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
        settings: Which settings stay as they are: a provider and one of its settings each.
        swaps: Secret values of the release, and what is current in their place.
        moves: The same of values that are no secrets.
        named: What any connection is made of, whether or not it stays: a provider's name for a
            person and one of its settings each.
        engines: Which of the stack's settings stay as they are, since the providers that the engine
            makes by itself connect as these say, or since a program makes its providers of them.
    """

    targets: tuple[Resource, ...] = field(repr=False)
    settings: tuple[tuple[Resource, str], ...] = ()
    swaps: tuple[tuple[Any, Any], ...] = field(default=(), repr=False)
    moves: tuple[tuple[Any, Any], ...] = ()
    named: frozenset[tuple[str, str]] = frozenset()
    engines: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Which settings stay as they are, a line a provider, and a line for the stack's own."""
        names: dict[str, list[str]] = {}
        for provider, name in self.settings:
            names.setdefault(provider.name, []).append(name)
        lines = [f"provider {name}: {', '.join(those)}" for name, those in names.items()]
        return (*lines, *([f"settings: {', '.join(self.engines)}"] if self.engines else []))

    def keeps(self, key: str) -> bool:
        """Whether one of these settings is what a person calls ``key``, as `--keep` is told."""
        return any(_top(key.removeprefix(f"{label}:")) == name for label, name in self.named)


def connected(targets: Sequence[Resource], present: Mapping[str, Resource]) -> Connected:
    """Give a release's providers the connections that they have now.

    Args:
        targets: The resources of the release.
        present: What is deployed now, by URN.
    """
    made: list[Resource] = []
    settings: list[tuple[Resource, str]] = []
    swaps: list[tuple[Any, Any]] = []
    moves: list[tuple[Any, Any]] = []
    for item in targets:
        now = present.get(item.urn)
        differing = () if now is None or not item.is_provider else tuple(_differing(item, now))
        if now is None or not differing:
            made.append(item)
            continue
        rest = {name: it for name, it in item.inputs.items() if name not in differing}
        ours = {name: now.inputs[name] for name in differing if name in now.inputs}
        made.append(replace(item, inputs={**rest, **ours}))
        settings += [(item, name) for name in differing]
        swaps += _swaps(item, now, differing)
        moves += _moves(item, now, differing)
    named = {
        (provider.label, name)
        for provider in (*targets, *present.values())
        if provider.is_provider
        for name, value in provider.inputs.items()
        if connects(package(provider), name, secret=is_secret(value))
    }
    return Connected(tuple(made), tuple(settings), tuple(swaps), tuple(moves), frozenset(named))


def package(provider: Resource) -> str:
    """The package that a provider is of, such as ``kubernetes``."""
    return provider.type.rpartition(":")[2]


def connects(of: str, name: str, *, secret: bool) -> bool:
    """Whether a setting says how a provider connects.

    Args:
        of: The provider's package.
        name: The setting.
        secret: Whether it is a secret, or holds one.
    """
    if of == _KUBERNETES:
        return name in _OF_KUBERNETES
    return secret or _CONNECTS.search(name) is not None


def _top(path: str) -> str:
    """The setting that a path leads into: ``assumeRoles[0].roleArn``."""
    return path.partition(".")[0].partition("[")[0]


def _differing(item: Resource, now: Resource) -> Iterator[str]:
    for name in sorted({*item.inputs, *now.inputs}):
        before, after = item.inputs.get(name), now.inputs.get(name)
        secret = is_secret(before) or is_secret(after)
        if plain(before) != plain(after) and connects(package(item), name, secret=secret):
            yield name


def _swaps(item: Resource, now: Resource, names: Collection[str]) -> Iterator[tuple[Any, Any]]:
    """The secret values among some settings, at any depth."""
    before, after = secrets_of(item), secrets_of(now)
    for path, value in before.items():
        if _top(path) in names and path in after and value != after[path]:
            yield value, after[path]


def _moves(item: Resource, now: Resource, names: Collection[str]) -> Iterator[tuple[Any, Any]]:
    for name in names:
        before, after = item.inputs.get(name), now.inputs.get(name)
        if isinstance(before, str) and isinstance(after, str):
            yield before, after
