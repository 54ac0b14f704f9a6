"""What the provider and its build process tell each other: one JSON object a line.

The build runs in a process of its own, so that stopping it is a kill: the daemon sees the
connection close and stops the build or the push at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lab.plugins.docker.inputs import cached_images

EventKind = Literal["status", "info", "warning", "failed", "done"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """An image to build, and to push unless ``push`` is False."""

    host: str
    cert_path: str
    image: str
    context: str
    dockerfile: str
    platform: str
    target: str | None
    network: str | None
    arguments: Mapping[str, str]
    extra_hosts: list[str]
    cache_from: list[str]
    push: bool
    server: str
    username: str
    password: str = field(repr=False)

    def dump(self) -> bytes:
        """Return the job as the build process reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def load(cls, data: bytes) -> Job:
        """Read what ``dump`` wrote."""
        return cls(**json.loads(data))

    @classmethod
    def of(cls, inputs: Mapping[str, Any], *, host: str, cert_path: str, preview: bool) -> Job:
        """Return the job that checked inputs describe; unknown parts are left out."""
        build = inputs["build"]
        registry = inputs.get("registry") or {}
        arguments = build.get("args") or {}
        return cls(
            host=host,
            cert_path=cert_path,
            image=inputs["imageName"],
            context=build["context"],
            dockerfile=build["dockerfile"],
            platform=_text(build.get("platform")),
            target=_text(build.get("target")) or None,
            network=_text(build.get("network")) or None,
            arguments={key: value for key, value in arguments.items() if isinstance(value, str)},
            extra_hosts=[item for item in build.get("addHosts") or [] if isinstance(item, str)],
            cache_from=cached_images(build),
            push=not preview and inputs.get("skipPush") is not True,
            server=_text(registry.get("server")),
            username=_text(registry.get("username")),
            password=_text(registry.get("password")),
        )


@dataclass(frozen=True)
class Event:
    """Something the build process has to say.

    Attributes:
        kind: "status" passes by, "info" and "warning" stay, "failed" and "done" are the last.
        text: For people; for "done" the image's digest.
    """

    kind: EventKind
    text: str

    def dump(self) -> str:
        """Return the event as one line."""
        return json.dumps([self.kind, self.text])

    @classmethod
    def load(cls, line: bytes) -> Event:
        """Read what ``dump`` wrote; anything else is a line the process printed by accident."""
        try:
            kind, text = json.loads(line)
            return cls(kind, text)
        except (ValueError, TypeError):
            return cls("status", line.decode(errors="replace").strip())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
