"""Which autoscalers aim at which objects: HorizontalPodAutoscalers, whoever made them.

KEDA and others of its kind make one of these for each object that they scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from aegis_deploy.kubernetes.client import FORBIDDEN, NOT_FOUND, ApiError, Cluster, Object
from aegis_deploy.kubernetes.managed_fields import REPLICAS, UNKNOWN, Scaling, value_at

KIND = "HorizontalPodAutoscaler"
Named = tuple[str, str, str]
"""An object's kind, namespace and name."""


@dataclass(frozen=True)
class Autoscaler:
    """One autoscaler.

    Attributes:
        name: Its name.
        owners: Kind and name of what made it, where that is told.
        group: The API group of what it aims at.
        kind: The kind of that.
        target: The name of that.
    """

    name: str
    owners: tuple[tuple[str, str], ...]
    group: str
    kind: str
    target: str

    def goes_with(self, namespace: str, gone: Iterable[Named]) -> bool:
        """Whether it goes when some objects do: it is one of them, or was made by one."""
        names = {(kind, name) for kind, place, name in gone if place == namespace}
        return not names.isdisjoint({(KIND, self.name), *self.owners})


class Autoscalers:
    """The autoscalers of some namespaces.

    Args:
        found: Those of each; None where nobody could look.
    """

    def __init__(self, found: Mapping[str, Iterable[Autoscaler] | None] | None = None) -> None:
        self._found = {
            place: None if them is None else tuple(them) for place, them in (found or {}).items()
        }

    def without(self, gone: Iterable[Named]) -> Autoscalers:
        """Return what is left of them when some objects go."""
        away = tuple(gone)
        return Autoscalers(
            {
                place: them and [it for it in them if not it.goes_with(place, away)]
                for place, them in self._found.items()
            }
        )

    def of(self, live: Mapping[str, object] | None) -> Scaling:
        """Say what aims at an object."""
        if live is None:
            return UNKNOWN
        version, kind = str(live.get("apiVersion") or ""), live.get("kind")
        group = version.rpartition("/")[0]
        namespace, name = (value_at(live, ("metadata", key)) for key in ("namespace", "name"))
        them = self._found.get(namespace)
        if them is None:
            return UNKNOWN
        aiming = (it for it in them if (it.group, it.kind, it.target) == (group, kind, name))
        one = next(aiming, None)
        return Scaling("" if one is None else f"{KIND} {one.name}", known=True)


def read(cluster: Cluster, objects: Iterable[Mapping[str, object] | None]) -> Autoscalers:
    """Read the autoscalers that may aim at some live objects; not those that are going.

    Raises:
        ApiError: The server does not answer.
    """
    places = {
        str(value_at(it, ("metadata", "namespace")))
        for it in objects
        if it is not None and value_at(it, REPLICAS) is not None
    }
    return Autoscalers({place: _listed(cluster, place) for place in sorted(places)})


def parse(item: Object) -> Autoscaler:
    """Read an autoscaler as the API server has it."""
    metadata, aim = item["metadata"], (item.get("spec") or {}).get("scaleTargetRef") or {}
    return Autoscaler(
        name=str(metadata["name"]),
        owners=tuple(
            (str(it.get("kind")), str(it.get("name"))) for it in metadata.get("ownerReferences", ())
        ),
        group=str(aim.get("apiVersion") or "").rpartition("/")[0],
        kind=str(aim.get("kind") or ""),
        target=str(aim.get("name") or ""),
    )


def _listed(cluster: Cluster, namespace: str) -> list[Autoscaler] | None:
    path = f"/apis/autoscaling/v2/namespaces/{quote(namespace)}/horizontalpodautoscalers"
    try:
        items = cluster.get(path).get("items") or ()
    except ApiError as error:
        if error.code in (FORBIDDEN, NOT_FOUND):
            return None
        raise
    return [parse(it) for it in items if not it["metadata"].get("deletionTimestamp")]
