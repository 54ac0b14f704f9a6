"""What is secret stands in a Secret, and Pulumi keeps it so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..pods import WORKLOADS, containers
from ..resources import Resource, Secret, Stack, Unknown, listed, look, mapped
from ..rule import Level, Rule

_NAME = re.compile(
    r"(?i)(^|[^a-z])(pass(word|wd|phrase)?|pwd|secret|token|api[_.-]?key|access[_.-]?key|"
    r"private[_.-]?key|credentials?|client[_.-]?secret)s?$"
)
"""Names of secrets. What goes on after it (TOKEN_FILE, SECRET_NAME) names something else."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"  # a JSON web token
    r"|\b(AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{16,}|\bxox[abpr]-[\w-]{10,}"
    r"|\bsk-[\w-]{20,}|\bpul-[0-9a-f]{40}\b"
    r"|\b[a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s/@]+@"  # a URL with a password
)
"""Texts that are secrets whatever they are called."""

_SAYS_NOTHING = {"", "true", "false", "none", "null", "0", "1"}
_MEND = (
    "Store it with `pulumi config set --secret` and hand it to the pod in a Secret "
    "(secretRef or secretKeyRef)."
)


def _check(resource: Resource, stack: Stack) -> Iterator[str]:  # noqa: ARG001
    if not resource.kind:
        return
    if resource.kind == "Secret":
        yield from _unmarked(resource)
        return
    for path in _marked(resource.inputs, ""):
        yield (
            f"{path} holds what Pulumi keeps secret, where anybody who may read a {resource.kind} "
            f"reads it. {_MEND}"
        )
    for path, name, value in _plain(resource):
        if _is_secret(name, value):
            yield f"{path} looks like a secret, and is not in one. {_MEND}"


def _unmarked(resource: Resource) -> Iterator[str]:
    for field in ("data", "stringData"):
        content = resource.inputs.get(field)
        if isinstance(content, Mapping):
            for key, value in content.items():
                if not isinstance(value, Secret | Unknown):
                    yield (
                        f"{field}.{key} stands in the state for anybody to read. "
                        "Wrap it in pulumi.Output.secret, or read it with require_secret."
                    )


def _marked(value: Any, path: str) -> Iterator[str]:  # noqa: ANN401
    """Where in an object a secret value stands; the outputs' copy of the inputs is passed over."""
    if isinstance(value, Secret):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "__inputs":
                yield from _marked(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _marked(item, f"{path}[{number}]")


def _plain(resource: Resource) -> Iterator[tuple[str, str, Any]]:
    """Where plain text stands: its path, its name, the text."""
    if resource.kind == "ConfigMap":
        for field in ("data", "binaryData"):
            for key, value in mapped(resource.inputs, field).items():
                yield f"{field}.{key}", key, value
    for key, value in mapped(resource.inputs, "metadata", "annotations").items():
        yield f"metadata.annotations[{key}]", key, value
    if resource.kind not in WORKLOADS:
        return
    for container in containers(resource):
        for item in listed(container.spec, "env"):
            name = str(look(item, "name"))
            yield f"container {container.name}, env {name}", name, look(item, "value")
        for field in ("command", "args"):
            words = [str(word) for word in listed(container.spec, field)]
            for number, (name, value) in enumerate(_options(words)):
                yield f"container {container.name}, {field}[{number}]", name, value


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """The words of a command line as names and values: ``--token=x``, and ``--token x``."""
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.partition("=")
        if equals and name.startswith("-"):
            yield name, value
        elif before.startswith("-") and "=" not in before and not word.startswith("-"):
            yield before, word
        else:
            yield "", word


def _is_secret(name: str, value: Any) -> bool:  # noqa: ANN401
    if not isinstance(value, str) or value.lower() in _SAYS_NOTHING:
        return False
    return bool(_NAME.search(_CAMEL.sub("_", name)) or _VALUE.search(value))


RULE = Rule(
    name="secrets-are-secret",
    level=Level.MANDATORY,
    says="What is secret stands in a Secret, and Pulumi keeps it so.",
    check=_check,
)
