"""The settings a stack may have: their names, what they may be, an example of each.

This table is both the documentation and the schema. :mod:`components.settings` reads values with
it, and words the errors with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aegis_deploy.model.gate_settings import GateSettings, gate_settings
from components.quantities import Cpu, Memory
from components.sizing import Scale
from components.source import is_version

T = TypeVar("T")

PROJECT = "aegis"
"""The namespace of the settings, which is the project's name."""

ENVIRONMENTS = ("development", "staging", "production")
"""The stacks there are; each is an environment with a namespace of its own."""

DATA_PROFILES: Mapping[str, tuple[str, ...]] = {
    "development": ("mock", "sample"),
    "staging": ("sample", "mock"),
    "production": ("real",),
}
"""The data a stack may serve, the usual one first.

Real data leaves production only as a masked sample; production that serves invented data is a
mistake somebody would notice late.
"""


@dataclass(frozen=True, kw_only=True)
class Key(Generic[T]):
    """One setting.

    Attributes:
        name: Its name, without the project's namespace.
        parse: Turns the text into the value; raises ValueError, worded to follow the value.
        allowed: What the text may be, for people.
        example: A text that is right, of the stacks where one stack's example would not do
            for the others.
        default: The value when there is none; None where a missing value is fine or refused.
        required: Whether a missing value is refused.
        variable: The environment variable that gives the value when the stack does not.
        secret: Whether the value must be encrypted and is never shown.
        everywhere: Whether ``Pulumi.yaml`` gives it for all the stacks.
    """

    name: str
    parse: Callable[[str], T]
    allowed: str
    example: str | Mapping[str, str]
    default: T | None = None
    required: bool = False
    variable: str | None = None
    secret: bool = False
    everywhere: bool = False

    @property
    def full_name(self) -> str:
        """The name as the configuration has it."""
        return f"{PROJECT}:{self.name}"

    def example_for(self, environment: str) -> str:
        """A text that is right for a stack."""
        if isinstance(self.example, str):
            return self.example
        return self.example[environment]


def _matching(pattern: str, why: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(why)
        return text

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("is not one of them")
        return text

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if re.fullmatch(r"\d{1,9}", text) is None:
            raise ValueError("is not a whole number")
        if not least <= int(text) <= most:
            raise ValueError("is out of range")
        return int(text)

    return parse


def _seconds(name: str, least: int, most: int, default: int) -> Key[int]:
    return Key(
        name=name,
        parse=_whole(least, most),
        allowed=f"seconds, {least} to {most}",
        example=str(default),
        default=default,
    )


def _version(text: str) -> str:
    if not is_version(text):
        raise ValueError("is not fit for a label")
    return text


def _token(text: str) -> str:
    if re.fullmatch(r"[!-~]{16,512}", text) is None:
        raise ValueError("is too short, too long, or has characters a header cannot carry")
    return text


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_REFERENCE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}"

PRODUCTION_REPLICAS = Key(
    name="productionReplicas",
    parse=_whole(1, 1000),
    allowed="a whole number, 1 to 1000",
    example="4",
    required=True,
    everywhere=True,
)
CPU_REQUEST = Key(
    name="cpuRequest",
    parse=Cpu.parse,
    allowed="CPU such as 100m, 0.5 or 1, above 0",
    example="100m",
    required=True,
    everywhere=True,
)
CPU_LIMIT = Key(
    name="cpuLimit",
    parse=Cpu.parse,
    allowed="CPU such as 500m or 1, at least cpuRequest",
    example="1",
    required=True,
    everywhere=True,
)
MEMORY_REQUEST = Key(
    name="memoryRequest",
    parse=Memory.parse,
    allowed="memory such as 128Mi or 1Gi, above 0",
    example="128Mi",
    required=True,
    everywhere=True,
)
MEMORY_LIMIT = Key(
    name="memoryLimit",
    parse=Memory.parse,
    allowed="memory such as 256Mi or 1Gi, at least memoryRequest",
    example="256Mi",
    required=True,
    everywhere=True,
)
SCALE = Key(
    name="scale",
    parse=Scale.parse,
    allowed="minimal, or a share of production's replicas above 0 and at most 1",
    example={"development": "minimal", "staging": "0.5", "production": "1"},
    required=True,
)
DATA_PROFILE = Key(
    name="dataProfile",
    parse=_one_of("mock", "sample", "real"),
    allowed="mock, sample or real, as the stack's environment permits",
    example={name: profiles[0] for name, profiles in DATA_PROFILES.items()},
    required=True,
)
REGISTRY = Key(
    name="registry",
    parse=_matching(
        rf"{_HOST}(:\d{{1,5}})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", "is not a registry's address"
    ),
    allowed="host[:port][/path], without a scheme",
    example="registry.example.com/team",
    required=True,
    variable="AEGIS_REGISTRY",
)
IMAGE_DIGEST = Key(
    name="imageDigest",
    parse=_matching(r"sha256:[0-9a-f]{64}", "is not a digest"),
    allowed="sha256: and 64 hexadecimal digits, of an image that is in the registry",
    example=f"sha256:{'0123456789abcdef' * 4}",
)
VERSION = Key(
    name="version",
    parse=_version,
    allowed="letters, digits, '.', '_' and '-', at most 63; only beside imageDigest",
    example="1.2.3",
)
BASE_IMAGE = Key(
    name="baseImage",
    parse=_matching(_REFERENCE, "is not an image reference"),
    allowed="an image reference, the Dockerfile's BASE_IMAGE",
    example="registry.example.com/python:3.11",
    variable="AEGIS_BASE_IMAGE",
)
RUNTIME_IMAGE = Key(
    name="runtimeImage",
    parse=_matching(_REFERENCE, "is not an image reference"),
    allowed="an image reference, the Dockerfile's RUNTIME_IMAGE",
    example="registry.example.com/python:3.11-slim",
    variable="AEGIS_RUNTIME_IMAGE",
)
PLATFORM = Key(
    name="platform",
    parse=_one_of("linux/amd64", "linux/arm64"),
    allowed="linux/amd64 or linux/arm64, whichever the cluster's nodes are",
    example="linux/arm64",
    default="linux/amd64",
    variable="AEGIS_PLATFORM",
)
HOST = Key(
    name="host",
    parse=_matching(_HOST, "is not a host name"),
    allowed="a host name in lower case; an Ingress is made for it",
    example="aegis.example.com",
)
INGRESS_CLASS = Key(
    name="ingressClass",
    parse=_matching(_HOST, "is not an IngressClass's name"),
    allowed="the name of an IngressClass of the cluster; only beside host",
    example="nginx",
)
API_TOKEN = Key(
    name="apiToken",
    parse=_token,
    allowed="16 to 512 printable ASCII characters without spaces, stored with --secret",
    example='"$(openssl rand -hex 24)"',
    secret=True,
)
LOG_LEVEL = Key(
    name="logLevel",
    parse=_one_of("debug", "info", "warning", "error"),
    allowed="debug, info, warning or error",
    example="info",
    default="info",
)
PRE_STOP_SECONDS = _seconds("preStopSeconds", 1, 60, default=5)
DRAIN_SECONDS = _seconds("drainSeconds", 1, 300, default=20)
MIN_READY_SECONDS = _seconds("minReadySeconds", 1, 300, default=3)
PROGRESS_DEADLINE_SECONDS = _seconds("progressDeadlineSeconds", 10, 3600, default=120)


def _gate(text: str) -> GateSettings:
    return gate_settings(text.strip("'"))


GATE = Key(
    name="gate",
    parse=_gate,
    allowed="a group of settings, aegis_deploy/model/gate_settings.py has them all",
    example="""'{"bakeSeconds": 15, "p99Ms": 500}'""",
)

KEYS: tuple[Key[object], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Key)
)
"""Every setting there is."""

PROVIDER_KEYS = ("kubernetes:clusterIdentifier", "kubernetes:context", "kubernetes:kubeconfig")
"""The Kubernetes provider's settings that are honoured; the provider is an explicit one, so any
other would be silently without effect."""
