"""The settings a stack may have: their names, what they may be, an example of each.

This table is both the documentation and the schema. :mod:`components.settings` reads values with
it and words the errors with it; :mod:`components.settings_schema` makes of it what editors read. It
is no Pydantic model: each wrong value has an error worded for it and a command that mends it, which
a model would have to be told one by one, and to import Pydantic takes a preview 0.1 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from aegis_deploy.model.database import dataset as datasets
from aegis_deploy.model.gate_settings import SCHEMA as GATE_SCHEMA
from aegis_deploy.model.gate_settings import gate_settings
from aegis_deploy.model.migration import contract_after
from aegis_deploy.model.setting_forms import Form, Schema, exactly, whole_text
from components.database import parse_address, parse_schema
from components.external_route import (
    GATEWAY_TEXT,
    HOST_TEXT,
    ISSUER_TEXT,
    NAMESPACES_TEXT,
    TLS_SECRET,
    Gateway,
    Issuer,
    parse_namespaces,
)
from components.postgres_settings import SCHEMA as POSTGRES_SCHEMA
from components.postgres_settings import postgres_settings
from components.quantities import CPU_SCHEMA, MEMORY_SCHEMA, Cpu, Memory
from components.sampling_settings import SCHEMA as SAMPLING_SCHEMA
from components.sampling_settings import sampling_settings
from components.sizing import AUTOSCALE_CPU_PERCENT, SCALE_SCHEMA, Scale
from components.source import VERSION_TEXT

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
        what: What it is, for people.
        form: What it may be. It reads the text that Pulumi passes on, and describes the value as
            the stack's file has it.
        allowed: What it may be, for people.
        example: A text that is right, of the stacks where one stack's example would not do
            for the others.
        default: The value when there is none; None where a missing value is fine or refused.
        required: Whether a missing value is refused.
        variable: The environment variable that gives the value when the stack does not.
        secret: Whether the value must be encrypted and is never shown.
        everywhere: Whether ``Pulumi.yaml`` gives it for all the stacks.
    """

    name: str
    what: str
    form: Form[T]
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

    def parse(self, text: str) -> T:
        """Make the value of its text.

        Raises:
            ValueError: It is not one; the message is worded to follow the value.
        """
        return self.form.parse(text)

    def example_for(self, environment: str) -> str:
        """A text that is right for a stack."""
        if isinstance(self.example, str):
            return self.example
        return self.example[environment]


def _matching(pattern: str, why: str) -> Form[str]:
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(why)
        return text

    # Not a bare number, which a pattern could fit too: of `1.10` Pulumi makes 1.1.
    return Form(parse, exactly(pattern))


def _group(read: Callable[[str], T], schema: Schema) -> Form[T]:
    """The form of a group of settings: the group itself, or its JSON as one text."""
    return Form(
        lambda text: read(text.strip("'")),
        {"anyOf": [schema, exactly(r"'*\s*\{[\s\S]*\}\s*'*")]},
    )


def _one_of(*choices: str) -> Form[str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("is not one of them")
        return text

    return Form(parse, {"enum": list(choices)})


def _whole(least: int, most: int) -> Form[int]:
    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text) is None:
            raise ValueError("is not a whole number")
        if not least <= int(text) <= most:
            raise ValueError("is out of range")
        return int(text)

    number = {"type": "integer", "minimum": least, "maximum": most}
    written = exactly(rf"(?=[0-9]{{1,9}}$){whole_text(least, most)}")
    return Form(parse, {"anyOf": [number, written]})


def _seconds(name: str, least: int, most: int, default: int, what: str) -> Key[int]:
    return Key(
        name=name,
        what=what,
        form=_whole(least, most),
        allowed=f"seconds, {least} to {most}",
        example=str(default),
        default=default,
    )


_REFERENCE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}"

PRODUCTION_REPLICAS = Key(
    name="productionReplicas",
    what="how many pods production runs",
    form=_whole(1, 1000),
    allowed="a whole number, 1 to 1000",
    example="4",
    required=True,
    everywhere=True,
)
AUTOSCALE = Key(
    name="autoscale",
    what="how many pods production runs at most, under load; without it always as many",
    form=_whole(1, 1000),
    allowed="1 to 1000, at least productionReplicas; each stack has its scale's share of it",
    example="12",
)
AUTOSCALE_CPU = Key(
    name="autoscaleCpuPercent",
    what="the CPU that pods use on average, of what they request, above which there are more",
    form=_whole(1, 1000),
    allowed="percent, 1 to 1000; only beside autoscale",
    example=str(AUTOSCALE_CPU_PERCENT),
)
CPU_REQUEST = Key(
    name="cpuRequest",
    what="the CPU that a pod asks the scheduler for",
    form=Form(Cpu.parse, CPU_SCHEMA),
    allowed="CPU such as 100m, 0.5 or 1, above 0",
    example="100m",
    required=True,
    everywhere=True,
)
CPU_LIMIT = Key(
    name="cpuLimit",
    what="the CPU that a pod may use at most",
    form=Form(Cpu.parse, CPU_SCHEMA),
    allowed="CPU such as 500m or 1, at least cpuRequest",
    example="1",
    required=True,
    everywhere=True,
)
MEMORY_REQUEST = Key(
    name="memoryRequest",
    what="the memory that a pod asks the scheduler for",
    form=Form(Memory.parse, MEMORY_SCHEMA),
    allowed="memory such as 128Mi or 1Gi, above 0",
    example="128Mi",
    required=True,
    everywhere=True,
)
MEMORY_LIMIT = Key(
    name="memoryLimit",
    what="the memory that a pod may use at most",
    form=Form(Memory.parse, MEMORY_SCHEMA),
    allowed="memory such as 256Mi or 1Gi, at least memoryRequest",
    example="256Mi",
    required=True,
    everywhere=True,
)
SCALE = Key(
    name="scale",
    what="how large the stack is, against production",
    form=Form(Scale.parse, SCALE_SCHEMA),
    allowed="minimal, or a share of production's replicas above 0 and at most 1",
    example={"development": "minimal", "staging": "0.5", "production": "1"},
    required=True,
)
DATA_PROFILE = Key(
    name="dataProfile",
    what="the data that the service serves",
    form=_one_of("mock", "sample", "real"),
    allowed="mock, sample or real, as the stack's environment permits",
    example={name: profiles[0] for name, profiles in DATA_PROFILES.items()},
    required=True,
)
MOCK_ROWS = Key(
    name="mockRows",
    what="how many made-up records the service serves",
    form=_whole(1, 1_000_000),
    allowed="a whole number, 1 to 1000000; only beside dataProfile mock, and without a database",
    example="1000",
)
REGISTRY = Key(
    name="registry",
    what="where images are pushed to and pulled from",
    form=_matching(
        rf"{HOST_TEXT}(:\d{{1,5}})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", "is not a registry's address"
    ),
    allowed="host[:port][/path], without a scheme",
    example="registry.example.com/team",
    required=True,
    variable="AEGIS_REGISTRY",
)
IMAGE_DIGEST = Key(
    name="imageDigest",
    what="the image to deploy; without it one is built",
    form=_matching(r"sha256:[0-9a-f]{64}", "is not a digest"),
    allowed="sha256: and 64 hexadecimal digits, of an image that is in the registry",
    example=f"sha256:{'0123456789abcdef' * 4}",
)
VERSION = Key(
    name="version",
    what="the version of the image that imageDigest names",
    form=_matching(VERSION_TEXT, "is not fit for a label"),
    allowed="letters, digits, '.', '_' and '-', at most 63; only beside imageDigest",
    example="1.2.3",
)
BASE_IMAGE = Key(
    name="baseImage",
    what="the image that the service's is built with",
    form=_matching(_REFERENCE, "is not an image reference"),
    allowed="an image reference, the Dockerfile's BASE_IMAGE",
    example="registry.example.com/python:3.11",
    variable="AEGIS_BASE_IMAGE",
)
RUNTIME_IMAGE = Key(
    name="runtimeImage",
    what="the image that the service's is built on; without it the base image",
    form=_matching(_REFERENCE, "is not an image reference"),
    allowed="an image reference, the Dockerfile's RUNTIME_IMAGE",
    example="registry.example.com/python:3.11-slim",
    variable="AEGIS_RUNTIME_IMAGE",
)
PLATFORM = Key(
    name="platform",
    what="what the image is built for",
    form=_one_of("linux/amd64", "linux/arm64"),
    allowed="linux/amd64 or linux/arm64, whichever the cluster's nodes are",
    example="linux/arm64",
    default="linux/amd64",
    variable="AEGIS_PLATFORM",
)
HOST = Key(
    name="host",
    what="the host name that the service has outside the cluster; without it there is no way in",
    form=_matching(HOST_TEXT, "is not a host name"),
    allowed="a host name in lower case; an Ingress is made for it, or an HTTPRoute",
    example="aegis.example.com",
)
INGRESS_CLASS = Key(
    name="ingressClass",
    what="the class of the Ingress; without it the cluster's default",
    form=_matching(HOST_TEXT, "is not an IngressClass's name"),
    allowed="the name of an IngressClass of the cluster; only beside host, and without gateway",
    example="nginx",
)
GATEWAY = Key(
    name="gateway",
    what="the Gateway that an HTTPRoute for the host attaches to; without it there is an Ingress",
    form=Form(Gateway.parse, exactly(GATEWAY_TEXT)),
    allowed="namespace/name of a Gateway of the cluster, or namespace/name/listener; only beside "
    "host",
    example="gateways/public",
)
TLS_SECRET_NAME = Key(
    name="tlsSecret",
    what="the Secret with the Ingress's certificate, in the stack's namespace; without it there is "
    "no TLS",
    form=_matching(HOST_TEXT, "is not a Secret's name"),
    allowed="the name of a Secret of type kubernetes.io/tls; only beside host, and without gateway",
    example="aegis-example-com",
)
TLS_ISSUER = Key(
    name="tlsIssuer",
    what="who of cert-manager fills that Secret; without it somebody else does",
    form=Form(Issuer.parse, exactly(ISSUER_TEXT)),
    allowed=f"Issuer/name or ClusterIssuer/name; only beside host, and without gateway. Where "
    f"tlsSecret names none, the Secret is {TLS_SECRET}",
    example="ClusterIssuer/letsencrypt",
)
CLIENT_NAMESPACES = Key(
    name="clientNamespaces",
    what="the namespaces whose pods may reach the service, its controller's or Gateway's among "
    "them; without it all",
    form=Form(parse_namespaces, exactly(NAMESPACES_TEXT)),
    allowed="the names of namespaces, separated by commas",
    example="gateways",
)
API_TOKEN = Key(
    name="apiToken",
    what="the token that clients must show; without it none is asked for",
    form=_matching(
        r"[!-~]{16,512}", "is too short, too long, or has characters a header cannot carry"
    ),
    allowed="16 to 512 printable ASCII characters without spaces, stored with --secret",
    example='"$(openssl rand -hex 24)"',
    secret=True,
)
DATABASE = Key(
    name="database",
    what="the PostgreSQL that the service reads and writes; without it there is none",
    form=Form(parse_address, {"type": "string", "pattern": r"^postgres(ql)?://"}),
    allowed="postgresql://user:password@host:port/name, stored with --secret",
    example="postgresql://aegis:PASSWORD@db.example.com:5432/aegis",
    secret=True,
)
DATABASE_CA = Key(
    name="databaseCa",
    what="the certificate of the authority that signed the database's; without it the system's",
    form=_matching(
        r"[A-Za-z0-9_-][A-Za-z0-9_./-]{0,254}", "is not the path of a file in the checkout"
    ),
    allowed="a file of the checkout with a certificate in PEM; only beside database",
    example="database-ca.pem",
)


POSTGRES = Key(
    name="postgres",
    what="a PostgreSQL in the stack's own namespace; without it there is none",
    form=_group(postgres_settings, POSTGRES_SCHEMA),
    allowed="a group of settings, components/postgres_settings.py has them all",
    example="""'{"storage": "1Gi"}'""",
)
DATASET = Key(
    name=datasets.SETTING,
    what="the data set that the service works on; without it what its database has",
    form=_matching(datasets.NAME, "is not a data set's name"),
    allowed="64 hexadecimal digits, as aegis data refresh sets it; only with the profile sample "
    "beside postgres",
    example="0123456789abcdef" * 4,
)
SAMPLING = Key(
    name="sampling",
    what="what takes masked samples of the real data by a schedule, into a bucket; without it "
    "nothing does",
    form=_group(sampling_settings, SAMPLING_SCHEMA),
    allowed="a group of settings with image and to, components/sampling_settings.py has them all; "
    "production alone",
    example=f"""'{{"image": "registry.example.com/aegis-data@sha256:{"0123456789abcdef" * 4}", """
    """"to": "s3://data-sets/shop?region=eu-west-1"}'""",
)
SAMPLING_SOURCE = Key(
    name="samplingSource",
    what="where samples are taken of, as a role that can only read",
    form=Form(parse_address, {"type": "string", "pattern": r"^postgres(ql)?://"}),
    allowed="postgresql://user:password@host:port/name, stored with --secret; beside sampling",
    example="postgresql://reader:PASSWORD@db.example.com:5432/aegis",
    secret=True,
)
SAMPLING_KEY = Key(
    name="samplingKey",
    what="what rows are chosen and values masked by",
    form=_matching(r"[!-~]{32,512}", "is shorter than 32 characters, or has others than ASCII's"),
    allowed="32 to 512 printable ASCII characters without spaces, stored with --secret; beside "
    "sampling",
    example='"$(openssl rand -hex 32)"',
    secret=True,
)
SAMPLING_CREDENTIALS = Key(
    name="samplingCredentials",
    what="who writes to the bucket",
    form=_matching(r"[A-Za-z0-9_-]{4,128}:[!-~]{8,256}", "is no access key"),
    allowed="an access key's id, a colon and the key, stored with --secret; beside sampling",
    example="AKIA0123456789ABCDEF:SECRET-ACCESS-KEY",
    secret=True,
)
SAMPLING_SECRETS = (SAMPLING_SOURCE, SAMPLING_KEY, SAMPLING_CREDENTIALS)
"""What a sampling needs and nobody may read."""
SCHEMA = Key(
    name="schema",
    what="the database's revisions that imageDigest's code works with: newest/least, and the "
    "newest that is irreversible where one is",
    form=Form(parse_schema, exactly(r"[0-9]{1,9}/[0-9]{1,9}(/[0-9]{1,9})?")),
    allowed="whole numbers such as 12/9 or 12/9/7; only beside imageDigest, which then needs it",
    example="1/1",
)
CONTRACT_AFTER = Key(
    name=contract_after.SETTING,
    what="after which time verified without what contracts remove they are due; without it they "
    "run by hand alone",
    form=contract_after.FORM,
    allowed="minutes, hours or days such as 90m, 12h or 7d; only with a database",
    example="7d",
)
LOG_LEVEL = Key(
    name="logLevel",
    what="how much the service logs",
    form=_one_of("debug", "info", "warning", "error"),
    allowed="debug, info, warning or error",
    example="info",
    default="info",
)
PRE_STOP_SECONDS = _seconds(
    "preStopSeconds", 1, 60, default=5, what="how long a deleted pod serves on before SIGTERM"
)
DRAIN_SECONDS = _seconds(
    "drainSeconds", 1, 300, default=20, what="how long requests that run may go on after SIGTERM"
)
MIN_READY_SECONDS = _seconds(
    "minReadySeconds", 1, 300, default=3, what="how long a new pod must be ready before an old goes"
)
PROGRESS_DEADLINE_SECONDS = _seconds(
    "progressDeadlineSeconds",
    10,
    3600,
    default=120,
    what="how long a rollout may make no progress; above minReadySeconds",
)


GATE = Key(
    name="gate",
    what="what a release must show before it counts as good; without it there is no gate",
    form=_group(gate_settings, GATE_SCHEMA),
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
