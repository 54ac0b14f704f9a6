"""Pods run an image by its digest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..pods import WORKLOADS, containers
from ..resources import Resource, Stack, is_unknown, look
from ..rule import Level, Rule

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    for container in containers(resource):
        image = look(container.spec, "image")
        if not is_unknown(image) and not _DIGEST.search(str(image or "")):
            yield (
                f"container {container.name} runs {image or 'no image'}: once a tag has moved, two "
                "pods of one release run two images. Write <registry>/<repository>@sha256:<digest>."
            )


RULE = Rule(
    name="image-by-digest",
    level=Level.MANDATORY,
    says="Pods run an image by its digest.",
    check=_check,
    kinds=WORKLOADS,
)
