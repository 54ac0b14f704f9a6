"""A component that another process makes: restored without that process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pulumi
from pulumi import Output, ResourceOptions

from tests.integration.accepting_provider import VERSIONS
from tests.integration.component_provider import PARTS, VERSION
from tests.integration.isolation import write_program
from tests.integration.test_replay_in_engine import Stack, stack

__all__ = ["stack"]


def _program(word: str) -> Callable[[], None]:
    def run() -> None:
        cluster = pulumi.ProviderResource(
            "kubernetes", "cluster", {"context": "here"}, ResourceOptions(version="4.32.0")
        )
        parts = pulumi.ComponentResource(
            PARTS,
            "parts",
            {"data": {"word": word, "token": Output.secret(f"hidden-{word}")}},
            ResourceOptions(version=VERSION, providers=[cluster]),
            remote=True,
        )
        pulumi.CustomResource(
            "kubernetes:core/v1:ConfigMap",
            "after",
            {"data": {"word": word, "parts": parts.urn}},
            ResourceOptions(depends_on=[parts], version=VERSIONS["kubernetes"]),
        )

    return run


def test_a_remote_component_is_restored_without_its_provider(stack: Stack) -> None:
    home = Path(stack.session.environment["PULUMI_HOME"])
    plugin = home / "plugins" / f"resource-remote-v{VERSION}"
    plugin.mkdir()
    write_program(plugin / "pulumi-resource-remote", "tests.integration.component_provider")
    first = stack.deploy(_program("one"))
    recorded = stack.state()
    stack.deploy(_program("two"))
    shutil.move(plugin, home / "away")
    outcome = stack.restore(stack.plan(first))
    assert outcome.succeeded, outcome.failures
    # The engine makes the component's provider again when a program asks for the component.
    of_the_component = {urn for urn in recorded if "pulumi:providers:remote" in urn}
    assert of_the_component
    restored = stack.state()
    assert restored == {urn: it for urn, it in recorded.items() if urn not in of_the_component}
    shutil.move(home / "away", plugin)
    assert set(stack.preview(_program("one"))) == {"same"}
