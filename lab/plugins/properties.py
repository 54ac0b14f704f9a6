"""Property values as the engine sends them: Struct messages to Python values and back.

Owns the wire rules (signatures of secrets and outputs, the sentinels of unknown values) and
nothing else. A decoded property map is plain Python (``dict``, ``list``, ``str``, ``bool``,
``int``, ``float``, ``None``) plus three marks: ``UNKNOWN``, ``Secret`` and ``Output``. Assets,
archives and resource references stay the plain maps they are on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct, Value  # type: ignore[import-untyped,unused-ignore]

PropertyValue: TypeAlias = Any
"""A decoded value: JSON's types, ``UNKNOWN``, ``Secret``, ``Output``, nested."""

SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a type mark
OUTPUT_SIGNATURE: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET_SIGNATURE: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE_SIGNATURE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
RESOURCE_SIGNATURE: Final = "5cf8f73096256a8f31e491e813e4eb8e"

UNKNOWN_SENTINEL: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_SENTINELS: Final = frozenset(
    {
        UNKNOWN_SENTINEL,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


class Unknown:
    """The type of ``UNKNOWN``, a value that only the update itself will tell."""

    _instance: Unknown | None = None

    def __new__(cls) -> Unknown:
        """Return the one instance, so that ``is UNKNOWN`` holds everywhere."""
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: dict[int, object]) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the engine must keep encrypted; its repr never shows it."""

    value: PropertyValue

    def __repr__(self) -> str:
        return "Secret([secret])"


@dataclass(frozen=True)
class Output:
    """A value with dependencies, as engines send it to plugins that accept outputs."""

    value: PropertyValue
    secret: bool = False
    dependencies: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Output({'[secret]' if self.secret else self.value!r})"


def decode(message: Struct) -> dict[str, PropertyValue]:
    """Read a property map the engine sent.

    Args:
        message: The map as it came over gRPC.

    Returns:
        The map with ``Secret``, ``Output`` and ``UNKNOWN`` in place of their envelopes. Whole
        numbers become ``int``.
    """
    return {key: _decode_value(value) for key, value in message.fields.items()}


def _decode_value(value: Value) -> PropertyValue:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in UNKNOWN_SENTINELS else text
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    return None


def _decode_struct(message: Struct) -> PropertyValue:
    fields = decode(message)
    signature = fields.get(SIGNATURE)
    if signature == SECRET_SIGNATURE:
        return Secret(fields.get("value"))
    if signature == OUTPUT_SIGNATURE:
        return Output(
            value=fields.get("value", UNKNOWN),
            secret=fields.get("secret") is True,
            dependencies=tuple(fields.get("dependencies") or ()),
        )
    return fields


def encode(properties: Mapping[str, PropertyValue]) -> Struct:
    """Write a property map for the engine.

    Args:
        properties: Plain values, ``Secret``, ``Output`` and ``UNKNOWN``, at any depth.

    Returns:
        The map with every mark in its envelope.

    Raises:
        TypeError: A value has no form on the wire; the message names its type, never the value.
    """
    from google.protobuf.struct_pb2 import Struct

    message = Struct()
    for key, value in properties.items():
        _encode_into(message.fields[key], value)
    return message


def _encode_into(target: Value, value: PropertyValue) -> None:
    if value is None:
        target.null_value = 0
    elif isinstance(value, Unknown):
        target.string_value = UNKNOWN_SENTINEL
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, Secret | Output):
        _encode_into(target, _envelope(value))
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for key, item in value.items():
            _encode_into(target.struct_value.fields[key], item)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for item in value:
            _encode_into(target.list_value.values.add(), item)
    else:
        raise TypeError(f"a {type(value).__name__} has no form as a Pulumi property")


def _envelope(mark: Secret | Output) -> dict[str, PropertyValue]:
    if isinstance(mark, Secret):
        return {SIGNATURE: SECRET_SIGNATURE, "value": mark.value}
    envelope: dict[str, PropertyValue] = {SIGNATURE: OUTPUT_SIGNATURE}
    if mark.value is not UNKNOWN:
        envelope["value"] = mark.value
    if mark.secret:
        envelope["secret"] = True
    if mark.dependencies:
        envelope["dependencies"] = list(mark.dependencies)
    return envelope


def plain(value: PropertyValue) -> PropertyValue:
    """Return the value without secret and output envelopes, at any depth (``UNKNOWN`` stays)."""
    if isinstance(value, Secret | Output):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def has_unknown(value: PropertyValue) -> bool:
    """Say whether any part of the value is ``UNKNOWN``."""
    return _any(value, lambda item: isinstance(item, Unknown))


def has_secret(value: PropertyValue) -> bool:
    """Say whether any part of the value is marked secret."""
    return _any(
        value,
        lambda item: isinstance(item, Secret) or (isinstance(item, Output) and item.secret),
    )


def _any(value: PropertyValue, test: Callable[[PropertyValue], bool]) -> bool:
    if test(value):
        return True
    if isinstance(value, Secret | Output):
        return _any(value.value, test)
    if isinstance(value, Mapping):
        return any(_any(item, test) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_any(item, test) for item in value)
    return False
