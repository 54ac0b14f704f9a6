"""Which cluster each resource of a stack is in: the one that its own provider leads to.

A program may make providers of its own, each with a kubeconfig, a context or a cluster of its own;
what they are given is in the state, in the preview of an update and in a release's record. Whatever
the engine makes by itself, and what names no provider, is where the stack's settings lead. A
provider that writes files has no cluster.

Connections are made when they are needed, one for all providers that lead to the same cluster as
the same user. Where there are several, a cluster is called by the first provider that leads to it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model import declared
from aegis_deploy.model.events import KUBERNETES_PROVIDER, MASKED, Step
from aegis_deploy.model.fingerprint import provider_of, remains
from aegis_deploy.model.signatures import is_secret, opened
from aegis_deploy.model.workloads.rollout import Workload, within
from aegis_deploy.stack import decryption
from aegis_deploy.stack.checkpoint import UNMADE, Resource

if TYPE_CHECKING:
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.stack.session import Session

T = TypeVar("T")
_KUBERNETES = "kubernetes:"
_RENDERS = "renderYamlToDirectory"
_WAY = ("context", "kubeconfig", "cluster")
_OTHERS = "the stack's settings"


@dataclass(frozen=True)
class Way:
    """How a cluster is connected to.

    Attributes:
        context: The kubeconfig's context; None means its current one.
        kubeconfig: A kubeconfig or its path; None means what is the default on this machine.
        cluster: The name of the kubeconfig's cluster; None means the context's.
    """

    context: str | None = None
    kubeconfig: str | None = field(default=None, repr=False)
    cluster: str | None = None

    @property
    def words(self) -> tuple[str | None, ...]:
        """It, as `kubernetes.client` takes it."""
        both = (self.context, self.kubeconfig)
        return (*both, self.cluster) if self.cluster else both


@dataclass(frozen=True)
class Part(Generic[T]):
    """What of a stack is in one cluster.

    Attributes:
        name: What its cluster is called, as `Workload.cluster` has it.
        items: What is in it.
        connect: Connects to it.
    """

    name: str
    items: tuple[T, ...]
    connect: Callable[[], Cluster] = field(repr=False)

    def told(self, error: Exception) -> str:
        """Say why it could not be looked at."""
        why = f"{error.what}: {error.why}" if isinstance(error, AegisError) else str(error)
        named = not self.name or within(self.name) in why
        return why if named else f"provider {self.name}: {why}"


@dataclass(frozen=True)
class _Provider:
    """What is known of a provider.

    Attributes:
        name: Its name in the program.
        inputs: What it is given; secrets in whatever envelope they come in.
        own: Whether the program made it.
    """

    name: str
    inputs: Mapping[str, Any] = field(repr=False)
    own: bool

    @property
    def renders(self) -> bool:
        return bool(self.inputs.get(_RENDERS))

    @property
    def unknown(self) -> bool:
        """Whether nobody can know yet how it connects: its update has yet to make that up."""
        return any(_is_untold(self.inputs.get(name)) for name in _WAY)


class Clusters:
    """The clusters of one stack.

    Args:
        session: The stack, open.
        settings: Returns how the stack's settings connect.
        ambient: Connects as they do; None means in the same way as for any provider.
    """

    def __init__(
        self,
        session: Session,
        settings: Callable[[], Way] = Way,
        ambient: Callable[[], Cluster] | None = None,
    ) -> None:
        self._session, self._settings = session, settings
        self._ambient = ambient or self.own
        self._given: dict[str, _Provider] = {}
        self._used: dict[str, None] = {}
        self._names: dict[tuple[str, ...], Mapping[str, str]] = {}
        self._opened: dict[str, Any] = {}
        self._keys: dict[Way, str] = {}
        self._made: dict[Way, Cluster] = {}
        self._lock = threading.RLock()

    # What is known of the providers

    def see(self, resources: Iterable[Mapping[str, Any]]) -> None:
        """Take note of a state: of its providers, and which of them are used.

        Args:
            resources: Its resources, secrets encrypted or not.
        """
        found = [it for it in resources if not it.get("delete") and not it.get(UNMADE)]
        self._note(
            {
                str(it["urn"]): _provider(str(it["urn"]), it.get("inputs"), it.get("parent"))
                for it in found
                if it["type"] == KUBERNETES_PROVIDER
            },
            (
                provider_of(it)
                for it in found
                if it.get("custom") and str(it["type"]).startswith(_KUBERNETES)
            ),
        )

    def expect(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """Take note of what a preview shows of providers that its update makes or changes.

        One whose connection is a secret, or is only made by the update, cannot be known before: it
        counts as leading nowhere. But where there is no other provider, and the settings have a
        kubeconfig, it is that one.

        Args:
            steps: The preview's.

        Returns:
            The names of providers of which that is not known.
        """
        last = {step.urn: step for step in steps if remains(step)}
        own = {
            urn: _provider(urn, self._whole(step), step.parent)
            for urn, step in last.items()
            if step.type == KUBERNETES_PROVIDER
        }
        objects = [it for it in last.values() if it.custom and it.type.startswith(_KUBERNETES)]
        used = dict.fromkeys(it.provider for it in objects)
        if len(used) == 1 and any(it.unknown for it in own.values()):
            own = {urn: self._as_the_settings(it) for urn, it in own.items()}
        self._note(own, used)
        return tuple(it.name for urn, it in own.items() if it.unknown and urn in used)

    def learn(self, resources: Iterable[Resource], *, anew: bool = True) -> None:
        """Take note of providers as they will connect, or did, and of what they are used for.

        Args:
            resources: The resources of a replay or of a record, with secrets decrypted.
            anew: Whether it counts also of providers of which something is known.
        """
        found = tuple(resources)
        self._note(
            {
                it.urn: _provider(it.urn, it.inputs, it.parent)
                for it in found
                if it.type == KUBERNETES_PROVIDER and (anew or it.urn not in self._given)
            },
            (
                *self._used,
                *(it.provider_urn for it in found if it.custom and it.type.startswith(_KUBERNETES)),
            ),
        )

    # Where things are

    def place(self, provider: str) -> str | None:
        """Return what the cluster is called that a provider leads to.

        Args:
            provider: The provider's URN; empty for what names none.

        Returns:
            Its name; empty for the stack's own, and where there is only one. None where there is no
            cluster, or it cannot be known yet which one it is.
        """
        found = self._given.get(provider)
        if found is not None and (found.renders or found.unknown):
            return None
        if provider and not _is_kubernetes(provider):
            return ""  # What it manages is in no cluster that is looked at.
        with self._lock:
            used = tuple({**self._used, provider: None})
            if used not in self._names:
                self._names[used] = self._named(used)
            return self._names[used].get(provider, "")

    def at(self, provider: str) -> Cluster:
        """Connect to the cluster that a provider leads to, unless that was done already.

        Args:
            provider: The provider's URN; empty for what names none.

        Raises:
            AegisError: There is no usable kubeconfig, or it cannot be decrypted.
        """
        found = self._given.get(provider)
        if found is None or not found.own:
            return self._ambient()
        try:
            return self._connected(self._way(found))
        except AegisError as error:
            error.what += within(found.name)
            raise

    def of(self, workload: Workload) -> Cluster:
        """Connect to the cluster that a workload is in; as `at` does."""
        return self.at(workload.provider)

    def own(self) -> Cluster:
        """Connect to the cluster that the stack's settings lead to; as `at` does."""
        return self._connected(self._own_way())

    def parts(self, items: Iterable[T], provider: Callable[[T], str]) -> list[Part[T]]:
        """Divide things by the clusters they are in; what is in none is left out.

        Args:
            items: The things.
            provider: Returns the URN of the provider of each.
        """
        found: dict[str, tuple[str, list[T]]] = {}
        for item in items:
            urn = provider(item)
            place = self.place(urn)
            if place is not None:
                found.setdefault(place, (urn, []))[1].append(item)
        return [
            Part(name, tuple(those), partial(self.at, urn)) for name, (urn, those) in found.items()
        ]

    def of_resources(self, resources: Iterable[Resource]) -> list[Part[Resource]]:
        """Divide resources by the clusters they are in."""
        return self.parts(resources, lambda it: it.provider_urn)

    def of_workloads(self, workloads: Iterable[Workload]) -> list[Part[Workload]]:
        """Divide workloads by the clusters they are in."""
        return self.parts(workloads, lambda it: it.provider)

    def all(self) -> list[Part[str]]:
        """Return the clusters that are used, each with its providers' URNs."""
        return self.parts(self._used or ("",), lambda urn: urn)

    # Inside

    def _note(self, providers: Mapping[str, _Provider], used: Iterable[str]) -> None:
        with self._lock:
            self._given.update(providers)
            self._used = dict.fromkeys(used)
            self._names.clear()

    def _whole(self, step: Step) -> Mapping[str, Any]:
        """A provider's inputs; what a preview masks and does not change, the state has."""
        known = self._given.get(step.urn)
        kept = {
            name: known.inputs[name]
            for name, value in step.connects.items()
            if known is not None
            and _is_untold(value)
            and name in known.inputs
            and (step.op == "same" or (step.diffs and name not in step.diffs))
        }
        return {**step.connects, **kept}

    def _as_the_settings(self, provider: _Provider) -> _Provider:
        try:
            given = self._settings().kubeconfig
        except AegisError:
            return provider
        return _Provider(provider.name, {}, own=False) if provider.unknown and given else provider

    def _named(self, used: tuple[str, ...]) -> Mapping[str, str]:
        """Name the clusters that some providers lead to."""
        there = {urn: self._given.get(urn) for urn in used}
        made = {
            urn: it
            for urn, it in there.items()
            if it is not None and it.own and not it.renders and not it.unknown
        }
        others = any(it is None or not (it.own or it.renders) for it in there.values())
        ways = {repr([it.inputs.get(name) for name in _WAY]) for it in made.values()}
        # One that only the update can tell is a further one until then, or what is told of the
        # others meanwhile is told as if they were alone.
        untold = any(it is not None and it.own and it.unknown for it in there.values())
        if len(ways) + others + untold < 2:  # noqa: PLR2004 - one, or none
            return {}
        keys = {urn: self._key(partial(self._way, it), urn) for urn, it in made.items()}
        ambient = self._key(self._own_way, _OTHERS) if others else None
        if len({*keys.values(), *([ambient] if others else [])}) + untold == 1:
            return {}
        names: dict[str | None, str] = {ambient: ""} if others else {}
        for urn, key in keys.items():
            if key not in names:
                name = made[urn].name
                # Those of different components may have the same name.
                names[key] = urn.split("::", 2)[2] if name in names.values() else name
        return {urn: names[key] for urn, key in keys.items()}

    def _key(self, way: Callable[[], Way], otherwise: str) -> str:
        """Where a connection leads; one that cannot be made leads where no other does."""
        try:
            return self._destination(way())
        except AegisError:
            return otherwise

    def _connected(self, way: Way) -> Cluster:
        from aegis_deploy.kubernetes.client import connect

        with self._lock:
            if way not in self._made:
                there = (it for it in self._made if self._destination(it) == self._destination(way))
                same = next(there, None)
                made = connect(*way.words) if same is None else self._made[same]
                self._made[way] = made
            return self._made[way]

    def _destination(self, way: Way) -> str:
        from aegis_deploy.kubernetes.kubeconfig import destination

        if way not in self._keys:
            try:
                self._keys[way] = destination(*way.words)
            except ValueError:
                self._keys[way] = repr(way.words)
        return self._keys[way]

    def _way(self, provider: _Provider) -> Way:
        """How a provider connects, its secrets decrypted.

        Raises:
            AegisError: They cannot be.
        """
        if provider.unknown:
            raise AegisError(
                what="the cluster cannot be reached: how it is connected to is not known yet",
                why="the update that makes the provider says it",
            )
        context, kubeconfig, cluster = (self._text(provider.inputs.get(name)) for name in _WAY)
        return Way(context, self._resolved(kubeconfig), cluster)

    def _own_way(self) -> Way:
        way = self._settings()
        return replace(way, kubeconfig=self._resolved(way.kubeconfig))

    def _resolved(self, kubeconfig: str | None) -> str | None:
        """A kubeconfig, or its whole path: a relative one is relative to the project."""
        if not kubeconfig or "\n" in kubeconfig or kubeconfig.lstrip().startswith(("{", "~", "/")):
            return kubeconfig
        return str(Path(self._session.directory) / kubeconfig)

    def _text(self, value: Any) -> str | None:  # noqa: ANN401 - any JSON value
        found = opened(self._decrypted(value) if _holds(value, "ciphertext") else value)
        if not found:
            return None
        return found if isinstance(found, str) else json.dumps(found)

    def _decrypted(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        key = json.dumps(value, sort_keys=True)
        if key not in self._opened:
            # Those of all providers at once: a run of the CLI each takes its time.
            closed = [
                it
                for provider in self._given.values()
                if not provider.unknown
                for it in map(provider.inputs.get, _WAY)
                if _holds(it, "ciphertext")
            ]
            deployment = {
                decryption.PROVIDER: self._session.export()["deployment"].get(decryption.PROVIDER),
                "resources": [{"inputs": {"all": closed}}],
            }
            what = "how providers connect cannot be read from the state"
            found = decryption.decrypted(self._session, deployment, what=what)[0]
            opened = found["resources"][0]["inputs"]["all"]
            for before, after in zip(closed, opened, strict=True):
                self._opened[json.dumps(before, sort_keys=True)] = after
        return self._opened[key]


def _holds(value: Any, what: str) -> bool:  # noqa: ANN401 - any JSON value
    """Whether a value has an envelope with something, at any depth."""
    if isinstance(value, Mapping):
        found = is_secret(value) and what in value
        return found or any(_holds(inner, what) for inner in value.values())
    return isinstance(value, list) and any(_holds(inner, what) for inner in value)


def _is_untold(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether a preview masks a value, or cannot know all of it."""
    if isinstance(value, Mapping):
        return any(map(_is_untold, value.values()))
    if isinstance(value, list):
        return any(map(_is_untold, value))
    return isinstance(value, str) and (value == MASKED or declared.UNKNOWN in value)


def _is_kubernetes(provider: str) -> bool:
    return provider.rpartition("::")[0].endswith(KUBERNETES_PROVIDER)


def _provider(urn: str, inputs: Mapping[str, Any] | None, parent: object) -> _Provider:
    name = urn.split("::", 3)[3]
    given = {key: it for key in (*_WAY, _RENDERS) if (it := (inputs or {}).get(key))}
    return _Provider(name, given, own=bool(parent) or not name.startswith("default"))
