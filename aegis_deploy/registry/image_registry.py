"""Whether an image is still in its registry, asked without pulling it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aegis_deploy.registry.registry_login import api_host, authorization, login

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_SECONDS = 4.0
_LONGEST = 1 << 20
"""More than any token's answer has bytes."""
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_REFUSED = {
    401: "the registry answers 401: it lets nobody in without credentials; `docker login` gives it "
    "some",
    403: "the registry answers 403: these credentials may not read it",
}

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
    host = api_host(reference.host)
    path = f"{host}/v2/{reference.repository}/manifests/{reference.version}"
    failures = []
    # A registry without TLS is told from one that is down by asking a second time. Nothing secret
    # is in the request; see `registry_login`.
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
        return Presence(image, None, _REFUSED.get(status, f"the registry answers {status}"))
    why = "the registry does not answer: " + "; ".join(failures)
    return Presence(image, None, why, reached=False)


def look_up_all(images: Iterable[str], head: Head | None = None) -> list[Presence]:
    """Ask for several images."""
    asked = head or _head
    return [look_up(image, asked) for image in dict.fromkeys(images)]


def _head(url: str, headers: Mapping[str, str]) -> int:
    status, challenge, _ = _send(url, headers, method="HEAD")
    if status != _UNAUTHORIZED or not challenge:
        return status
    known = login(_registry(url))
    for who in (known, None) if known is not None else (None,):
        # What everybody may read is read by anybody, also where somebody's password is old.
        try:
            header = authorization(url, challenge, _ask, who)
        except OSError:
            continue
        if header is not None:
            status, _, _ = _send(url, {**headers, "Authorization": header}, method="HEAD")
            if status == _OK:
                break
    return status


def _registry(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc


def _ask(url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
    status, _, body = _send(url, headers, form=form, method="GET" if form is None else "POST")
    if status != _OK:
        raise ConnectionError(f"{url.partition('?')[0]} answers {status}")
    return body


def _send(
    url: str, headers: Mapping[str, str], *, method: str, form: bytes | None = None
) -> tuple[int, str, bytes]:
    """Send a request; return the status, what is asked of whoever asks, and the body."""
    # A whole client's import and its own certificates would take longer than all answers.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    asked = Request(url, data=form, method=method)  # noqa: S310 - see `look_up`
    for name, value in headers.items():
        # What says who asks is for this place alone, not for where it leads on to.
        add = asked.add_unredirected_header if name == "Authorization" else asked.add_header
        add(name, value)
    try:
        with urlopen(asked, timeout=_SECONDS) as answer:  # noqa: S310
            return int(answer.status), "", bytes(answer.read(_LONGEST))
    except HTTPError as error:
        with error:
            return error.code, error.headers.get("WWW-Authenticate") or "", b""
    except URLError as error:
        raise ConnectionError(str(error.reason)) from error
    except HTTPException as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
