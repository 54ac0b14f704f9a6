"""Nothing is built as, or run from, the tag latest."""

from __future__ import annotations

from collections.abc import Iterator

from ..pods import WORKLOADS, containers
from ..resources import Resource, Stack, look
from ..rule import Level, Rule

_BUILT = {"docker:index/image:Image": "imageName", "docker:index/tag:Tag": "targetImage"}


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    if resource.type in _BUILT:
        name = look(resource.inputs, _BUILT[resource.type])
        if isinstance(name, str) and _is_latest(name):
            yield (
                f"it is built as {name}: the next build takes that name away. "
                "Tag it with what it was built from, such as the commit."
            )
    elif resource.kind in WORKLOADS:
        for container in containers(resource):
            image = look(container.spec, "image")
            if isinstance(image, str) and _is_latest(image):
                yield (
                    f"container {container.name} runs {image}: nobody can say which release that "
                    "is. Name the image by its digest."
                )


def _is_latest(reference: str) -> bool:
    """Whether a reference says latest, or says nothing, which means the same."""
    name, _, digest = reference.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return tag == "latest" if colon else not digest


RULE = Rule(
    name="no-latest-tag",
    level=Level.MANDATORY,
    says="Nothing is built as, or run from, the tag latest.",
    check=_check,
)
