"""What went wrong with an image, in words: what failed, why, what to do now.

Pure. The daemon reports everything as one line of text; the causes people meet are told apart
here, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_DISK: Final = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True)
class _Cause:
    """A cause and its remedy; ``{name}`` stands for the image or registry at hand."""

    expression: re.Pattern[str]
    remedy: str


def _cause(expression: str, remedy: str) -> _Cause:
    return _Cause(re.compile(expression, re.IGNORECASE), remedy)


_FULL: Final = _cause(
    _DISK.pattern,
    "free disk space where the Docker daemon keeps its images (`docker system df` shows what "
    "uses it, `docker system prune` frees it), then run the same command again",
)
_UNREACHABLE: Final = _cause(
    r"connection refused|no such host|no route to host|network is unreachable|i/o timeout"
    r"|deadline exceeded|Client\.Timeout|server misbehaving|connection reset",
    "check that {registry} is right and that its registry runs "
    "(`make up` starts the lab's), then run the same command again",
)
_PLAIN_HTTP: Final = _cause(
    r"server gave HTTP response to HTTPS client",
    "{registry} speaks plain http: start the Docker daemon with `--insecure-registry {registry}`, "
    "or give the registry a certificate",
)
_CERTIFICATE: Final = _cause(
    r"x509:|certificate",
    "make the Docker daemon trust the certificate of {registry} "
    "(/etc/docker/certs.d/{registry}/ca.crt)",
)
_NOT_FOUND: Final = _cause(
    r"manifest unknown|not found: manifest|repository does not exist|name unknown"
    r"|no match for platform|does not match the specified platform",
    "correct the FROM line, or the build argument it uses, to an image that exists for the "
    "platform asked for",
)
_DENIED: Final = _cause(
    r"unauthorized|authentication required|no basic auth|denied|forbidden|\bEOF$",
    "give the resource's `registry` a user and password that may use {registry}, "
    "or run `docker login {registry}`",
)
_BUILDKIT: Final = _cause(
    r"requires BuildKit",
    "the lab's stand-in builds with the classic builder: use the official Docker plugin for "
    "BuildKit, or write the step without it",
)
_COPY: Final = _cause(
    r"^(COPY|ADD) failed|excluded by \.dockerignore|no source files were specified",
    "check that the file exists in the build context and that .dockerignore leaves it in",
)
_PARSE: Final = _cause(
    r"dockerfile parse error|unknown instruction|the Dockerfile .* cannot be empty|no build stage",
    "correct the Dockerfile",
)
_PULL_CAUSES: Final = (_FULL, _PLAIN_HTTP, _UNREACHABLE, _CERTIFICATE, _NOT_FOUND, _DENIED)
_STEP_CAUSES: Final = (_FULL, _BUILDKIT, _COPY, _PARSE)
_PUSH_CAUSES: Final = (_FULL, _PLAIN_HTTP, _UNREACHABLE, _CERTIFICATE, _DENIED)


def no_daemon(address: str, reason: str) -> str:
    """Say that no Docker daemon answers.

    Args:
        address: Where it was looked for.
        reason: What the connection attempt said.
    """
    return _message(
        f"no Docker daemon answers at {address}",
        reason,
        "start Docker, or set DOCKER_HOST to where it listens; for the lab's daemon run "
        '`make up`, then `eval "$(make -s env)"` in this shell',
    )


def build_failed(image: str, message: str, *, step: str = "", output: Sequence[str] = ()) -> str:
    """Say why a build failed.

    Args:
        image: The image's name.
        message: What the daemon said.
        step: The Dockerfile's step that ran, such as "Step 3/9 : RUN make".
        output: The last lines of that step.
    """
    pulling = re.match(r"Step \S+ : FROM ", step)
    causes = _PULL_CAUSES if pulling else _STEP_CAUSES
    base = step.partition("FROM ")[2].split()[:1] if pulling else []
    registry = base[0].partition("/")[0] if base and "/" in base[0] else "the base image's registry"
    remedy = _remedy(causes, message, registry)
    if not remedy:
        remedy = "correct what the step does, then run the same command again"
        if not step:
            remedy = (
                "correct the Dockerfile or the build's options, then run the same command again"
            )
    where = f" at {step}" if step else ""
    if pulling:
        where += ": its base image cannot be used"
    return _message(f"building {image} failed{where}", message, remedy, output)


def push_failed(image: str, registry: str, message: str) -> str:
    """Say why a push failed.

    Args:
        image: The image's name.
        registry: Host and port of the registry.
        message: What the daemon said.
    """
    remedy = _remedy(_PUSH_CAUSES, message, registry)
    return _message(
        f"pushing {image} to {registry} failed",
        message,
        remedy or "correct what the registry complains about, then run the same command again",
    )


def no_space_for_context(directory: str, reason: str) -> str:
    """Say that the build context's archive did not fit on this machine."""
    return _message(
        f"the archive of the build context does not fit into {directory}",
        reason,
        "free disk space there, or set TMPDIR to a directory with more, "
        "or leave more out with .dockerignore",
    )


def context_unreadable(context: str, reason: str) -> str:
    """Say that a file of the build context cannot be read."""
    return _message(
        f"the build context {context!r} cannot be read",
        reason,
        "mend or remove that file, or name it in .dockerignore",
    )


def is_disk_full(message: str) -> bool:
    """Say whether a message is about a full disk."""
    return _DISK.search(message) is not None


def _remedy(causes: Sequence[_Cause], message: str, registry: str) -> str:
    for cause in causes:
        if cause.expression.search(message):
            return cause.remedy.format(registry=registry)
    return ""


def _message(what: str, why: str, remedy: str, output: Sequence[str] = ()) -> str:
    lines = [what, f"  why:  {' '.join(why.split())}"]
    if output:
        lines.append("  its last output:")
        lines += [f"    | {line}" for line in output]
    lines.append(f"  next: {remedy}")
    return "\n".join(lines)
