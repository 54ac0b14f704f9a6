"""The inputs of ``docker.Image``: defaults, checks and what changed.

Pure but for reading the build context. What ``check`` returns is what the official provider
returns for the same program, since both write it into the same state.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from lab.plugins.docker import names
from lab.plugins.docker.context import digest
from lab.plugins.docker.ignore import BadPattern
from lab.plugins.properties import UNKNOWN, PropertyValue, Secret, has_unknown

CLASSIC: Final = "BuilderV1"
BUILDKIT: Final = "BuilderBuildKit"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}

ChangeKind = Literal["add", "delete", "update"]


class BadInput(Exception):  # noqa: N818
    """An input cannot be used; the message says which, why, and what to write instead."""


@dataclass(frozen=True)
class Checked:
    """Inputs with every default in place.

    Attributes:
        inputs: What goes into the state.
        platform_assumed: Whether the platform is the host's because the program named none.
    """

    inputs: dict[str, PropertyValue]
    platform_assumed: bool


def check(news: Mapping[str, PropertyValue]) -> Checked:
    """Validate a program's inputs and fill in what it left out.

    Args:
        news: Plain inputs (no secret envelopes), unknown values as ``UNKNOWN``.

    Raises:
        BadInput: Something is missing or wrong.
    """
    inputs = _without_nulls(dict(news))
    preview = inputs.get("buildOnPreview")
    inputs["buildOnPreview"] = preview is True
    build = inputs.get("build", {})
    if not isinstance(build, dict):
        return Checked(inputs, platform_assumed=False)  # unknown as a whole
    inputs["build"] = build
    _check_builder(build.get("builderVersion"))
    context = build.setdefault("context", ".")
    if not has_unknown(context):
        build.setdefault("dockerfile", _join(context, "Dockerfile"))
    dockerfile = build.get("dockerfile", UNKNOWN)
    if not has_unknown(dockerfile) and not has_unknown(context):
        build["contextDigest"] = _digest(context, dockerfile)
    assumed = "platform" not in build
    if assumed:
        build["platform"] = host_platform()
    _check_names(inputs)
    return Checked(inputs, platform_assumed=assumed)


def host_platform() -> str:
    """Return the platform of images built on this machine by default."""
    machine = platform.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def _without_nulls(value: PropertyValue) -> Any:  # noqa: ANN401 - the shape of its argument
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _join(context: str, name: str) -> str:
    return os.path.normpath(f"{context}/{name}")


def _check_builder(version: PropertyValue) -> None:
    if version is None or version in (CLASSIC, BUILDKIT) or has_unknown(version):
        return
    raise BadInput(f"build.builderVersion is {version!r}; it must be {CLASSIC} or {BUILDKIT}")


def _digest(context: str, dockerfile: str) -> str:
    if not Path(dockerfile).exists():
        raise BadInput(_missing_dockerfile(context, dockerfile))
    if not Path(context).is_dir():
        raise BadInput(
            f"the build context {context!r} is not a directory (seen from {Path.cwd()}).\n"
            "Set build.context to the directory that the Dockerfile copies from"
        )
    try:
        return digest(context, dockerfile)
    except BadPattern as error:
        raise BadInput(f"the .dockerignore of {context!r} cannot be read: {error}") from error
    except OSError as error:
        raise BadInput(
            f"the build context {context!r} cannot be read: {error}.\n"
            "Mend or remove that file, or name it in .dockerignore"
        ) from error


def _missing_dockerfile(context: str, dockerfile: str) -> str:
    message = f"there is no Dockerfile at {dockerfile!r} (seen from {Path.cwd()})."
    inside = _join(context, dockerfile)
    if not Path(dockerfile).is_absolute() and Path(inside).exists():
        return (
            f"{message}\nIt is not looked for inside the context: "
            f"set build.dockerfile to {inside!r}"
        )
    return f"{message}\nWrite one there, or set build.dockerfile to its path"


def _check_names(inputs: Mapping[str, PropertyValue]) -> None:
    """Require a registry in the image's name when something is pushed or pulled as cache."""
    image = inputs.get("imageName")
    cache = cached_images(inputs["build"])
    if not isinstance(image, str) or (inputs.get("skipPush") is True and not cache):
        return
    registry = inputs.get("registry")
    server = registry.get("server") if isinstance(registry, Mapping) else None
    try:
        host = names.auth_server(server if isinstance(server, str) else "", image)
        for cached in cache:
            names.auth_server(host, cached)
    except names.NotQualified as error:
        raise BadInput(str(error)) from error


def cached_images(build: Mapping[str, PropertyValue]) -> list[str]:
    """Return the known images of ``build.cacheFrom``."""
    cache = build.get("cacheFrom")
    if not isinstance(cache, Mapping):
        return []
    if "images" not in cache:
        raise BadInput("build.cacheFrom has no `images`: give it the list of images to pull")
    images = cache["images"]
    if not isinstance(images, list):
        if images is None or has_unknown(images):
            return []
        raise BadInput("build.cacheFrom.images must be a list of image names")
    return [image for image in images if isinstance(image, str)]


def recorded_inputs(state: Mapping[str, PropertyValue]) -> dict[str, PropertyValue]:
    """Return the inputs that a state's outputs carry along."""
    recorded = state.get("__inputs")
    if isinstance(recorded, Secret):
        recorded = recorded.value
    return _without_nulls(recorded) if isinstance(recorded, Mapping) else {}


def changes(
    olds: Mapping[str, PropertyValue], news: Mapping[str, PropertyValue]
) -> dict[str, ChangeKind]:
    """Return what changed between two sets of checked inputs, by top-level name.

    Credentials change often and alter nothing about the image: of ``registry`` only the server
    counts.
    """
    found: dict[str, ChangeKind] = {}
    for key in sorted({*olds, *news}):
        old, new = olds.get(key), news.get(key)
        if old == new:
            continue
        if old is None:
            found[key] = "add"
        elif new is None:
            found[key] = "delete"
        elif not _credentials_only(key, old, new):
            found[key] = "update"
    return found


def _credentials_only(key: str, old: PropertyValue, new: PropertyValue) -> bool:
    if key != "registry" or not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    servers = old.get("server"), new.get("server")
    return None in servers or servers[0] == servers[1]


def preview_obstacle(inputs: Mapping[str, PropertyValue]) -> str | None:
    """Say why a preview cannot build the image although ``buildOnPreview`` asks for it."""
    build = inputs.get("build")
    parts = {"imageName": inputs.get("imageName")}
    if isinstance(build, Mapping):
        parts |= {f"build.{key}": build.get(key) for key in ("dockerfile", "context", "args")}
    else:
        parts["build"] = build
    unknown = [name for name, value in parts.items() if has_unknown(value)]
    if not unknown:
        return None
    return f"the image is not built in this preview: {', '.join(unknown)} will be known later"
