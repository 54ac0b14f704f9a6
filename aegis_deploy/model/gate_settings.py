"""What a gate asks of a release: its settings, their defaults, and reading them from configuration.

The table :data:`FIELDS` is documentation and schema. The program reads it at every preview, so
this module imports next to nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aegis_deploy.model.setting_forms import (
    OTHERWISE,
    Field,
    Form,
    Schema,
    exactly,
    group_schema,
    number_text,
    read_group,
    whole_text,
)

SERVICE, INGRESS = "service", "ingress"
"""Which way probes go; see `GateSettings.through`."""


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A query whose answer must stay within a threshold, asked at the end of the bake time.

    Attributes:
        url: The server, such as ``http://prometheus.monitoring:9090``.
        query: A PromQL query that gives one number.
        most: The answer must not be above this.
        least: The answer must not be below this.
    """

    url: str
    query: str
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True, kw_only=True)
class DataPaths:
    """What is asked for to see whether a release works with its data.

    Attributes:
        read: What is asked for by GET; empty for nothing.
        write: What an empty POST goes to, which writes something, reads it back and leaves nothing
            of it behind; empty for nothing.
    """

    read: str = ""
    write: str = ""


@dataclass(frozen=True)
class Share:
    """A share of requests.

    Attributes:
        hundredths: It, in hundredths of a percent.
    """

    hundredths: int

    @property
    def of_all(self) -> float:
        """It, where 1 is all."""
        return self.hundredths / WHOLE

    def __str__(self) -> str:
        return f"{self.hundredths / 100:g}%"


WHOLE = 10_000
"""All requests, in what a `Share` counts in."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What a release must show before it counts as good.

    Attributes:
        bake_seconds: How long it is probed after its rollout is complete.
        success_ratio: The least share of probes that must be answered well.
        p99_ms: The most milliseconds that 99 % of the answers may take.
        probe_rate: Probes a second.
        path: What is asked for; its answer is JSON when the version is checked. Empty: what the
            pods' own readiness probe asks for, which says no version.
        version_check: Whether the answer must name the version that was deployed.
        canary: Seconds that every new pod must serve before the next old one goes; during them
            the new pods are probed one by one. 0 means no canary step. Or the share of requests
            that new pods beside the old ones get first, for the bake time.
        crashes: How many ends of the new release's containers are evidence.
        unschedulable_seconds: How long a pod may find no node (an autoscaler needs minutes).
        unready_seconds: How long a started container may stay unready.
        prometheus: A query beside the probes.
        data: What is asked for of data; None means what the pods themselves say.
        away_seconds: How long a database that is away in the bake time is waited for before nobody
            can tell.
        through: Which way the bake time's probes go: SERVICE, or INGRESS, as who stands outside.
        address: Where the way in is, as ``host`` or ``host:port``; None means what its Gateway or
            Ingress says of itself.
        ca: The authority of the way in's certificate, in PEM; None means this machine's.
    """

    bake_seconds: float = 15.0
    success_ratio: float = 0.99
    p99_ms: float = 1000.0
    probe_rate: float = 10.0
    path: str = "/version"
    version_check: bool = True
    canary: int | Share = 0
    crashes: int = 1
    unschedulable_seconds: float = 30.0
    unready_seconds: float = 20.0
    prometheus: Prometheus | None = None
    data: DataPaths | None = None
    away_seconds: float = 120.0
    through: str = SERVICE
    address: str | None = None
    ca: str | None = None

    @property
    def canary_seconds(self) -> int:
        """How long every new pod must serve before the next old one goes."""
        return 0 if isinstance(self.canary, Share) else self.canary

    @property
    def canary_share(self) -> Share | None:
        """The share of requests that new pods get first; None where it is no such canary step."""
        return self.canary if isinstance(self.canary, Share) else None


UNSET = GateSettings(path="")
"""The gate of a stack that sets none: nobody said what its service answers at ``/version``."""


def _number(least: float, most: float, *, whole: bool = False) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:  # noqa: ANN401
        # `pulumi config set --path` leaves some numbers as text.
        try:
            number = float(value)
        except (OverflowError, TypeError, ValueError):
            number = math.nan
        foreign = isinstance(value, str) and not value.isascii()
        if isinstance(value, bool) or foreign or not math.isfinite(number):
            raise ValueError("is not a number")
        if whole and number != int(number):
            raise ValueError("is not a whole number")
        if not least <= number <= most:
            raise ValueError("is out of range")
        return int(number) if whole else number

    return parse


def _from_to(least: float, most: int, *, whole: bool = False) -> Form[Any]:
    parse = _number(least, most, whole=whole)
    written = rf"{whole_text(int(least), most)}(?:\.0*)?" if whole else number_text(least, most)
    kind = "integer" if whole else "number"
    number = {"type": kind, "minimum": least, "maximum": most}
    return Form(parse, {"anyOf": [number, exactly(f"{written}|{OTHERWISE}")]})


def _boolean(value: Any) -> bool:  # noqa: ANN401
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError("is neither true nor false")


def _path(value: Any) -> str:  # noqa: ANN401
    if not is_path(value):
        raise ValueError("is not a path")
    return str(value)


def _prometheus(value: Any) -> Prometheus:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise ValueError("is not a group of url, query and most or least")  # noqa: TRY004
    unknown = set(value) - set(_PROMETHEUS["properties"])
    if unknown:
        raise ValueError(f"has the unknown member {sorted(unknown)[0]}")
    url, query = value.get("url"), value.get("query")
    if not isinstance(url, str) or re.match(_URL, url) is None:
        raise ValueError("has no url that starts with http:// or https://")
    urlsplit(url)  # raises ValueError itself where brackets hold no address
    if not isinstance(query, str) or not query.strip():
        raise ValueError("has no query")
    any_number = _number(-1e300, 1e300)
    bounds = {name: any_number(value[name]) for name in ("most", "least") if name in value}
    if not bounds:
        raise ValueError("has neither most nor least, so that nothing would be judged")
    return Prometheus(url=url.rstrip("/"), query=query, **bounds)


def _data(value: Any) -> DataPaths:  # noqa: ANN401
    if value is False or value == "false":
        return DataPaths()
    if not isinstance(value, Mapping):
        raise ValueError("is not a group of read and write")  # noqa: TRY004
    unknown = set(value) - set(_DATA_PATHS["properties"])
    if unknown:
        raise ValueError(f"has the unknown member {sorted(unknown)[0]}")
    if not value:
        raise ValueError("has neither read nor write, so that nothing would be judged")
    for name, path in value.items():
        if not is_path(path):
            raise ValueError(f"has {path!r} for {name}, which is not a path")
    return DataPaths(**value)


def _canary(value: Any) -> int | Share:  # noqa: ANN401
    if isinstance(value, str) and value.endswith("%"):
        if re.fullmatch(_SHARE, value) is None:
            raise ValueError("is no such share")
        return Share(round(100 * float(value.removesuffix("%"))))
    seconds: int = _SECONDS_OF_CANARY.parse(value)
    return seconds


def _through(value: Any) -> str:  # noqa: ANN401
    if value not in (SERVICE, INGRESS):
        raise ValueError("is not one of them")
    return str(value)


def _address(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or re.fullmatch(_ADDRESS, value) is None:
        raise ValueError("is not an address")
    return value


def _authority(value: Any) -> str:  # noqa: ANN401
    import ssl

    if not isinstance(value, str) or re.search(_PEM, value) is None:
        raise ValueError("is no certificate in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=value)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("is no certificate in PEM") from error
    return value


def is_path(value: object) -> bool:
    """Return whether something is what a request can ask for."""
    return isinstance(value, str) and re.fullmatch(_PATH, value) is not None


_PATH = r"/\S*"
_PORT = whole_text(1, 65535)
_ADDRESS = rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::{_PORT})?"
_PEM = "-----BEGIN CERTIFICATE-----"
_URL = "[hH][tT][tT][pP][sS]?://"
_SIGNED = {"anyOf": [{"type": "number"}, exactly(rf"[0-9.]*[0-9][0-9.]*|{OTHERWISE}")]}
_PROMETHEUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "pattern": f"^{_URL}"},
        "query": {"type": "string", "pattern": r"\S"},
        "most": _SIGNED,
        "least": _SIGNED,
    },
    "required": ["url", "query"],
    "anyOf": [{"required": ["most"]}, {"required": ["least"]}],
    "additionalProperties": False,
}
_DATA_PATHS: dict[str, Any] = {
    "type": "object",
    "properties": {"read": exactly(_PATH), "write": exactly(_PATH)},
    "anyOf": [{"required": ["read"]}, {"required": ["write"]}],
    "additionalProperties": False,
}

_SECONDS_OF_CANARY = _from_to(0, 300, whole=True)
_SHARE = (
    r"50%|(?:[1-4]?[1-9]|[1-4]0)(?:\.[0-9]{1,2})?%|0\.(?:0[1-9]|[1-9][0-9]?)%"  # Above 0, up to 50.
)

FIELDS: Mapping[str, Field] = {
    "bakeSeconds": Field(
        attribute="bake_seconds",
        what="how long the service is probed after the rollout; 0: not at all",
        form=_from_to(0, 3600),
        allowed="seconds, 0 to 3600",
    ),
    "successRatio": Field(
        attribute="success_ratio",
        what="the least share of probes that must be answered well (status 200 to 399)",
        form=_from_to(0, 1),
        allowed="a share, 0 to 1, such as 0.99",
    ),
    "p99Ms": Field(
        attribute="p99_ms",
        what="the most that 99 % of the answers may take; of fewer than 100, all but one",
        form=_from_to(1, 600_000),
        allowed="milliseconds, 1 to 600000",
    ),
    "probeRate": Field(
        attribute="probe_rate",
        what="how often the service is probed, every second time on a new connection",
        form=_from_to(0.1, 100),
        allowed="probes a second, 0.1 to 100",
    ),
    "path": Field(
        attribute="path",
        what="what is asked for",
        form=Form(_path, exactly(_PATH)),
        allowed="a path such as /version",
    ),
    "versionCheck": Field(
        attribute="version_check",
        what="whether each new pod must name the version and commit that were deployed",
        form=Form(_boolean, {"enum": [True, False, "true", "false", 1, 0]}),
        allowed="true or false",
    ),
    "canary": Field(
        attribute="canary",
        what="how long each new pod must serve, probed by itself, before the next old goes; or the "
        "share of requests that go to new pods first, for bakeSeconds",
        form=Form(_canary, {"anyOf": [*_SECONDS_OF_CANARY.schema["anyOf"], exactly(_SHARE)]}),
        allowed="whole seconds, 0 to 300; or, with a Gateway, a share from 0.01% to 50%",
    ),
    "crashes": Field(
        attribute="crashes",
        what="how many ends of new containers are evidence",
        form=_from_to(1, 100, whole=True),
        allowed="a whole number, 1 to 100",
    ),
    "unschedulableSeconds": Field(
        attribute="unschedulable_seconds",
        what="how long a pod may find no node; an autoscaler needs minutes",
        form=_from_to(0, 3600),
        allowed="seconds, 0 to 3600",
    ),
    "unreadySeconds": Field(
        attribute="unready_seconds",
        what="how long a started container may be unready; at least its readiness probe's time",
        form=_from_to(1, 3600),
        allowed="seconds, 1 to 3600",
    ),
    "prometheus": Field(
        attribute="prometheus",
        what="a query asked once, after the bake time; no single number as answer: the gate fails",
        form=Form(_prometheus, _PROMETHEUS),
        allowed="url, query, and most or least (or both)",
    ),
    "data": Field(
        attribute="data",
        what="paths by which data is read, and now and then written; unset: what the pods say",
        form=Form(_data, {"anyOf": [{"enum": [False, "false"]}, _DATA_PATHS]}),
        allowed="paths as read, write (or both), such as /v1/records?limit=1; false: none",
    ),
    "awaySeconds": Field(
        attribute="away_seconds",
        what="how long a database that is away in the bake time is waited for",
        form=_from_to(0, 3600),
        allowed="seconds, 0 to 3600",
    ),
    "through": Field(
        attribute="through",
        what="which way the bake time's probes go: to the Service, or from outside as users come",
        form=Form(_through, {"enum": [SERVICE, INGRESS]}),
        allowed="service or ingress (an HTTPRoute's Gateway, too)",
    ),
    "address": Field(
        attribute="address",
        what="where the way in is reached; unset: what its Gateway or Ingress says of itself",
        form=Form(_address, exactly(_ADDRESS)),
        allowed="host or host:port",
    ),
    "ca": Field(
        attribute="ca",
        what="the authority of the way in's certificate; unset: those that this machine trusts",
        form=Form(_authority, {"type": "string", "pattern": _PEM}),
        allowed="a certificate in PEM",
    ),
}
"""Every member of ``aegis:gate``, by the name the configuration has."""


SCHEMA: Schema = group_schema(FIELDS, GateSettings())
"""What :func:`gate_settings` reads, as a JSON schema."""


def gate_settings(value: str | Mapping[str, Any]) -> GateSettings:
    """Read a gate's settings.

    Args:
        value: The structured setting, as an object or as the JSON that Pulumi passes on.

    Raises:
        ValueError: Something is wrong; the message says everything that is, worded to follow
            the value.
    """
    return GateSettings(**read_group(value, FIELDS, whose="the gate"))
