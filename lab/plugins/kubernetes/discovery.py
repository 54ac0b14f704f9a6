"""Where objects of a kind live: the API path, and whether the kind is namespaced."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lab.plugins.kubernetes.client import Api, ApiError, UnreachableError
from lab.plugins.kubernetes.kinds import known_scope
from lab.plugins.kubernetes.objects import Object, items, name_of, namespace_of, nested, text


class UnknownKindError(Exception):
    """The API server has no such kind (yet)."""


@dataclass(frozen=True)
class Mapping:
    """One kind's place in the API."""

    root: str
    plural: str
    namespaced: bool

    def collection(self, namespace: str = "") -> str:
        """Return the path of a namespace's objects ("" for all or for cluster-wide kinds)."""
        if self.namespaced and namespace:
            return f"{self.root}/namespaces/{namespace}/{self.plural}"
        return f"{self.root}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """Return the path of one object."""
        place = self.collection((namespace or "default") if self.namespaced else "")
        return f"{place}/{name}"


class Discovery:
    """Asks the API server what kinds it has, once for each group version."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._kinds: dict[str, dict[str, Mapping]] = {}
        self._definitions: dict[str, bool] = {}

    def mapping(self, api_version: str, kind: str) -> Mapping:
        """Return where a kind lives.

        Raises:
            UnknownKindError: The server has no such kind.
            UnreachableError: There is no server.
            ApiError: The server refused to say.
        """
        api_version = api_version.removeprefix("core/")
        with self._lock:
            known = self._kinds.get(api_version, {}).get(kind)
        if known is not None:
            return known
        found = self._ask(api_version)
        with self._lock:
            self._kinds[api_version] = found
        if kind not in found:
            raise UnknownKindError(
                f"the API server has no kind {kind} in {api_version}; "
                "verify that any custom resource definition it needs has been created"
            )
        return found[kind]

    def mapping_of(self, obj: Object) -> Mapping:
        """Return where an object's kind lives."""
        return self.mapping(text(obj, "apiVersion"), text(obj, "kind"))

    def path_of(self, obj: Object) -> str:
        """Return an object's path."""
        return self.mapping_of(obj).path(namespace_of(obj), name_of(obj))

    def exists(self, obj: Object) -> bool:
        """Say whether the server has the object's kind; False also when it does not answer."""
        try:
            self.mapping_of(obj)
        except (UnknownKindError, UnreachableError, ApiError):
            return False
        return True

    def namespaced(self, api_version: str, kind: str) -> bool | None:
        """Say whether a kind is namespaced, None when nobody knows.

        Built-in kinds and definitions of this program are known without asking the server.
        """
        api_version = api_version.removeprefix("core/")
        known = known_scope(api_version, kind)
        if known is not None:
            return known
        defined = self._definitions.get(f"{api_version.partition('/')[0]}/{kind}")
        if defined is not None:
            return defined
        try:
            return self.mapping(api_version, kind).namespaced
        except (UnknownKindError, UnreachableError, ApiError):
            return None

    def learn(self, definition: Object) -> None:
        """Remember a CustomResourceDefinition the program is about to create."""
        kind = text(definition, "spec", "names", "kind")
        scope = nested(definition, "spec", "scope")
        if kind and isinstance(scope, str):
            group = text(definition, "spec", "group")
            self._definitions[f"{group}/{kind}"] = scope == "Namespaced"

    def forget(self) -> None:
        """Ask again, after a definition was created."""
        with self._lock:
            self._kinds.clear()

    def _ask(self, api_version: str) -> dict[str, Mapping]:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            listing = self._api.get(root)
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return {
            str(item["kind"]): Mapping(root, str(item["name"]), item.get("namespaced") is True)
            for item in items(listing, "resources")
            if "/" not in str(item.get("name"))
        }
