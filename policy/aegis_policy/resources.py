"""What a rule is given: resources with their values, which may be secret or not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_PROVIDER: Final = "kubernetes:"
_URN_PARTS: Final = 4


class Unknown:
    """A value that only the update will tell, such as the digest of an image not yet built."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that Pulumi keeps secret; its text never gets into a message."""

    value: Any = field(repr=False)


def bare(value: Any) -> Any:  # noqa: ANN401 - any value there is
    """Take a value out of its secret's mark."""
    return value.value if isinstance(value, Secret) else value


def look(value: Any, *path: str) -> Any:  # noqa: ANN401
    """Follow a path of keys; None where it ends early, UNKNOWN where nobody knows yet."""
    for key in path:
        value = bare(value)
        if isinstance(value, Unknown):
            return UNKNOWN
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return bare(value)


def listed(value: Any, *path: str) -> list[Any]:  # noqa: ANN401
    """The items of a list at a path; none when it is missing, unknown or no list."""
    found = look(value, *path)
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [bare(item) for item in found]
    return []


def mapped(value: Any, *path: str) -> dict[str, Any]:  # noqa: ANN401
    """The mapping at a path; empty when it is missing, unknown or no mapping."""
    found = look(value, *path)
    return dict(found) if isinstance(found, Mapping) else {}


def is_unknown(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is not known yet."""
    return isinstance(bare(value), Unknown)


@dataclass(frozen=True)
class Resource:
    """One resource of a stack.

    Attributes:
        urn: What the engine calls it.
        type: Its type token, such as ``kubernetes:apps/v1:Deployment``.
        inputs: Its values, with marks for what is secret or unknown.
    """

    urn: str
    type: str
    inputs: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """The kind of a Kubernetes object; empty for anything else."""
        return self.type.rpartition(":")[2] if self.type.startswith(_PROVIDER) else ""

    @property
    def stack(self) -> str:
        """The stack it belongs to."""
        return self._urn_part(2)

    @property
    def project(self) -> str:
        """The project it belongs to."""
        return self._urn_part(3)

    @property
    def name(self) -> str:
        """What it is called: in the cluster when that is known, else in the state."""
        name = look(self.inputs, "metadata", "name")
        return name if isinstance(name, str) else self.urn.rpartition("::")[2]

    @property
    def namespace(self) -> Any:  # noqa: ANN401
        """The namespace that it names: a text, None or UNKNOWN."""
        return look(self.inputs, "metadata", "namespace")

    def _urn_part(self, number: int) -> str:
        head, *rest = self.urn.split("::", maxsplit=2)
        parts = [*head.split(":"), *rest]
        return parts[number] if len(parts) >= _URN_PARTS else ""


@dataclass
class Stack:
    """What is known of a stack: all of it, or as much as was registered so far.

    A resource is registered after those that it refers to, so a rule about one resource finds
    here what that resource names.

    Attributes:
        production_replicas: Production's replicas as Pulumi.yaml has them; None when unknown.
    """

    production_replicas: int | None = None
    _by_urn: dict[str, Resource] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_urn.values()))

    def add(self, resources: Iterable[Resource]) -> Stack:
        """Learn of resources; one that was known already is replaced."""
        for resource in resources:
            self._by_urn[resource.urn] = resource
        return self

    def of_kind(self, *kinds: str) -> list[Resource]:
        """The Kubernetes objects of some kinds."""
        return [item for item in self if item.kind in kinds]

    def find(self, kind: str, namespace: object, name: object) -> Resource | None:
        """The Kubernetes object of a name, when it is one of this stack."""
        for item in self.of_kind(kind):
            if item.namespace == namespace and look(item.inputs, "metadata", "name") == name:
                return item
        return None
