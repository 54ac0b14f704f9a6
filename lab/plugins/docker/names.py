"""Image names: which registry they mean, and their name without a tag.

The rules are those of the distribution project: the first part of a name is a registry only when
it has a dot, a port or is ``localhost``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_REGISTRY: Final = "docker" + ".io"
_INDEX_SERVER: Final = f"https://index.{DEFAULT_REGISTRY}/v1/"
_INDEX_NAMES: Final = frozenset(
    {DEFAULT_REGISTRY, f"index.{DEFAULT_REGISTRY}", f"registry-1.{DEFAULT_REGISTRY}"}
)


class NotQualified(Exception):  # noqa: N818
    """An image name does not say which registry it means."""


@dataclass(frozen=True)
class ImageName:
    """A parsed image name.

    Attributes:
        registry: Host and port of the registry, the default one when the name has none.
        repository: The path inside the registry.
        qualified: Whether the name itself says its registry and its whole path.
    """

    registry: str
    repository: str
    qualified: bool

    @property
    def full(self) -> str:
        """The name with its registry and without tag or digest."""
        return f"{self.registry}/{self.repository}"


def parse(name: str) -> ImageName:
    """Read an image name, with or without registry, tag and digest."""
    bare = name.partition("@")[0]
    path, colon, tag = bare.rpartition(":")
    if colon and "/" not in tag:
        bare = path
    first, slash, rest = bare.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        short = first in _INDEX_NAMES and "/" not in rest
        return ImageName(first, f"library/{rest}" if short else rest, qualified=not short)
    return ImageName(DEFAULT_REGISTRY, bare if slash else f"library/{bare}", qualified=False)


def auth_server(server: str, image: str) -> str:
    """Return the address under which a registry's credentials are kept.

    Args:
        server: ``registry.server`` of the resource, or "".
        image: The image's name, which has to say its registry when there is no server.

    Raises:
        NotQualified: Neither says which registry is meant.
    """
    if server:
        host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    else:
        parsed = parse(image)
        if not parsed.qualified:
            raise NotQualified(
                f"the image name {image!r} does not say which registry it is for, and "
                "`registry.server` is not set.\n"
                f"Write the registry in front of it, such as {DEFAULT_REGISTRY}/{image.lstrip('/')}"
            )
        host = parsed.registry
    return _INDEX_SERVER if host in _INDEX_NAMES else host
