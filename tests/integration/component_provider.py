"""A provider of one remote component: what it registers is made by its own process.

Run by the engine as ``python -m tests.integration.component_provider ADDRESS``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi import provider

from tests.integration.accepting_provider import VERSIONS

VERSION = "0.1.0"
PARTS = "remote:index:Parts"


class Parts(pulumi.ComponentResource):
    """A component with one child."""

    def __init__(
        self, name: str, data: pulumi.Input[object], opts: pulumi.ResourceOptions | None
    ) -> None:
        super().__init__(PARTS, name, {"data": data}, opts)
        self.part = pulumi.CustomResource(
            "kubernetes:core/v1:ConfigMap",
            f"{name}-part",
            {"data": data},
            pulumi.ResourceOptions(parent=self, version=VERSIONS["kubernetes"]),
        )
        self.register_outputs({"data": data})


class PartsProvider(provider.Provider):
    """Makes the component."""

    def __init__(self) -> None:
        super().__init__(VERSION)

    def construct(
        self,
        name: str,
        resource_type: str,  # noqa: ARG002 - there is one
        inputs: Mapping[str, pulumi.Input[Any]],
        options: pulumi.ResourceOptions | None = None,
    ) -> provider.ConstructResult:
        """Make it."""
        parts = Parts(name, inputs["data"], options)
        return provider.ConstructResult(parts.urn, {"data": inputs["data"]})


if __name__ == "__main__":
    provider.main(PartsProvider(), sys.argv[1:])
