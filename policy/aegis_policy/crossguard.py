"""The rules as a pack of Pulumi's policy SDK; nothing else here knows that SDK.

The SDK hands a policy values without saying which of them are secret, and makes each look at an
unknown one an error. The rules want to know both, so the pack decodes what the engine sends itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pulumi_policy
from pulumi_policy import policy as sdk
from pulumi_policy import proxy

from .project import production_replicas
from .resources import UNKNOWN, Resource, Secret, Stack
from .rule import Rule
from .rules import RULES

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the mark of one on the wire
_UNKNOWN: Final = frozenset(
    value for name, value in vars(proxy).items() if name.startswith("UNKNOWN_")
)


def serve() -> None:
    """Serve the pack to the engine that started this process, until it ends it."""
    if not hasattr(sdk, "deserialize_properties"):
        raise SystemExit(
            "this version of pulumi-policy decodes values elsewhere, so secrets could not be told "
            "from other values; install the pinned one: make policy"
        )
    sdk.deserialize_properties = _properties
    pulumi_policy.PolicyPack(
        name="aegis",
        policies=policies(Stack(production_replicas(Path.cwd()))),
        enforcement_level=pulumi_policy.EnforcementLevel.MANDATORY,
        description="What a release of aegis must keep to.",
    )


def policies(known: Stack) -> list[pulumi_policy.Policy]:
    """The rules as the SDK's policies.

    Args:
        known: What is known of the stack; grows with each resource that is registered.
    """
    return [
        _of_stack(rule, known) if rule.whole_stack else _of_resource(rule, known) for rule in RULES
    ]


def _of_resource(rule: Rule, known: Stack) -> pulumi_policy.Policy:
    def validate(args: Any, report: Any) -> None:  # noqa: ANN401 - the SDK's
        resource = Resource(args.urn, args.resource_type, args.props)
        known.add([resource])
        for message in rule.problems(resource, known):
            report(message)

    return pulumi_policy.ResourceValidationPolicy(
        name=rule.name,
        description=rule.says,
        validate=validate,
        enforcement_level=pulumi_policy.EnforcementLevel(rule.level.value),
    )


def _of_stack(rule: Rule, known: Stack) -> pulumi_policy.Policy:
    def validate(args: Any, report: Any) -> None:  # noqa: ANN401 - the SDK's
        stack = Stack(known.production_replicas).add(
            Resource(item.urn, item.resource_type, item.props) for item in args.resources
        )
        for resource in stack:
            for message in rule.problems(resource, stack):
                report(message, resource.urn)

    return pulumi_policy.StackValidationPolicy(
        name=rule.name,
        description=rule.says,
        validate=validate,
        enforcement_level=pulumi_policy.EnforcementLevel(rule.level.value),
    )


def _properties(properties: Mapping[str, Any], proxy_secrets: bool = False) -> Mapping[str, Any]:  # noqa: ARG001
    """Take the place of the SDK's decoding; what is no plain dict it does not wrap again."""
    return MappingProxyType({key: decoded(value) for key, value in properties.items()})


def decoded(value: Any) -> Any:  # noqa: ANN401
    """Turn a value of the wire into one the rules take, with marks for secret and unknown."""
    if isinstance(value, Mapping):
        if value.get(_SIGNATURE) == _SECRET:
            return Secret(decoded(value.get("value")))
        return {key: decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, str) and value in _UNKNOWN:
        return UNKNOWN
    # The wire has only floating-point numbers.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
