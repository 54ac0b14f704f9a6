"""Whether an image is still in its registry, asked without credentials and without pulling it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_SECONDS = 4.0
_OK, _NOT_FOUND = 200, 404

Head = Callable[[str, Mapping[str, str]], int]
"""Sends a HEAD request: the status, or OSError when there was no answer."""


@dataclass(frozen=True)
class Reference:
    """An image reference that names its registry.

    Attributes:
        host: The registry, with its port.
        repository: The repository in it.
        version: The digest or the tag.
    """

    host: str
    repository: str
    version: str


@dataclass(frozen=True)
class Presence:
    """Whether an image is there.

    Attributes:
        image: Its reference.
        there: True or False; None when nobody could say.
        why: Why nobody could.
        reached: Whether the registry answered, or is not to be asked from here.
    """

    image: str
    there: bool | None
    why: str = ""
    reached: bool = True


def parse(image: str) -> Reference | None:
    """Take a reference apart; None when it leaves the registry to the node's own default."""
    name, _, digest = image.partition("@")
    host, slash, path = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        return None
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, "latest"
    return Reference(host, repository, digest or tag)


def look_up(image: str, head: Head) -> Presence:
    """Ask an image's registry for it.

    Args:
        image: The reference.
        head: Sends the request.
    """
    reference = parse(image)
    if reference is None:
        return Presence(image, None, "its name leaves the registry to the node")
    path = f"{reference.host}/v2/{reference.repository}/manifests/{reference.version}"
    failures = []
    # A registry without TLS is told from one that is down by asking a second time. Nothing secret
    # is in the request.
    for scheme in ("https", "http"):
        try:
            status = head(f"{scheme}://{path}", {"Accept": _ACCEPT})
        except OSError as error:
            failures.append(f"{scheme}: {error}")
            continue
        if status == _OK:
            return Presence(image, True)
        if status == _NOT_FOUND:
            return Presence(image, False)
        return Presence(image, None, f"the registry answers {status}")
    why = "the registry does not answer: " + "; ".join(failures)
    return Presence(image, None, why, reached=False)


def look_up_all(images: Iterable[str], head: Head | None = None) -> list[Presence]:
    """Ask for several images."""
    asked = head or _head
    return [look_up(image, asked) for image in dict.fromkeys(images)]


def _head(url: str, headers: Mapping[str, str]) -> int:
    # A whole client's import and its own certificates would take longer than all answers.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    asked = Request(url, headers=dict(headers), method="HEAD")  # noqa: S310 - see `look_up`
    try:
        with urlopen(asked, timeout=_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code
    except URLError as error:
        raise ConnectionError(str(error.reason)) from error
    except HTTPException as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
