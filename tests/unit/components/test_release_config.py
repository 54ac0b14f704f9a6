"""components.release_config: configuration is immutable and named by its content."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from components.release_config import content_hash, secret_hash
from tests.rendering import TOKEN, Rendering, render


class TestNames:
    """Changed content is a new object; unchanged content is the same one."""

    def test_object_and_resource_have_one_name(self, rendering: Rendering) -> None:
        config = rendering.one("ConfigMap")
        assert re.fullmatch(r"aegis-api-config-[0-9a-f]{10}", config.name)
        assert config.manifest["metadata"]["name"] == config.name

    def test_the_secret_too(self) -> None:
        secret = render("staging", token=TOKEN).one("Secret")
        assert re.fullmatch(r"aegis-api-secret-[0-9a-f]{10}", secret.name)
        assert secret.manifest["metadata"]["name"] == secret.name

    def test_changed_content_changes_the_name(self) -> None:
        before = render("staging").one("ConfigMap").name
        after = render("staging", logLevel="error").one("ConfigMap").name
        assert before != after

    def test_what_the_service_is_not_told_does_not(self) -> None:
        before = render("staging").one("ConfigMap").name
        after = render("staging", productionReplicas="8").one("ConfigMap").name
        assert before == after

    def test_order_does_not_matter(self) -> None:
        assert content_hash({"a": "1", "b": "2"}) == content_hash({"b": "2", "a": "1"})

    def test_keys_and_values_are_told_apart(self) -> None:
        assert content_hash({"a": "1b2"}) != content_hash({"a1": "b2"})

    def test_both_are_immutable(self) -> None:
        rendering = render("staging", token=TOKEN)
        assert rendering.one("ConfigMap").manifest["immutable"] is True
        assert rendering.one("Secret").manifest["immutable"] is True


class TestSecrets:
    """Nobody learns a secret from the state, the name or the plan."""

    def test_is_a_secret_to_pulumi(self) -> None:
        secret = render("staging", token=TOKEN).one("Secret")
        assert secret.secret_inputs == {"stringData"}
        assert secret.manifest["stringData"] == {"AEGIS_API_TOKEN": TOKEN}

    def test_is_in_no_other_resource_and_no_output(self) -> None:
        rendering = render("staging", token=TOKEN)
        others = [item for item in rendering.resources if not item.type.endswith(":Secret")]
        assert TOKEN not in str([item.inputs for item in others])
        assert TOKEN not in str(rendering.outputs)

    def test_there_is_none_without_a_value(self, rendering: Rendering) -> None:
        assert not rendering.of_type("Secret")

    def test_stacks_that_share_a_value_do_not_share_a_name(self) -> None:
        names = {
            render(stack, token=TOKEN).one("Secret").name for stack in ("staging", "production")
        }
        assert len(names) == 2

    def test_a_try_at_guessing_it_is_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: dict[str, Any] = {}

        def scrypt(_: bytes, **how: Any) -> bytes:
            asked.update(how)
            return bytes(64)

        monkeypatch.setattr(hashlib, "scrypt", scrypt)
        secret_hash({"AEGIS_API_TOKEN": TOKEN}, "aegis-staging")
        assert asked["salt"] == b"aegis-staging"
        # What RFC 7914 says a try costs: so many bytes, each mixed twice.
        assert 128 * asked["n"] * asked["r"] * asked["p"] >= 16 * 2**20


class TestEnvironment:
    """The service is told what it must know, and nothing else."""

    def test_is_what_the_stack_says(self) -> None:
        data = render("staging", drainSeconds="7").one("ConfigMap").manifest["data"]
        assert data == {
            "AEGIS_ENVIRONMENT": "staging",
            "AEGIS_DATA_PROFILE": "sample",
            "AEGIS_LOG_LEVEL": "info",
            "AEGIS_DRAIN_SECONDS": "7",
            "AEGIS_PORT": "8000",
        }

    def test_pods_take_all_of_both(self) -> None:
        rendering = render("staging", token=TOKEN)
        spec = rendering.one("Deployment").manifest["spec"]["template"]["spec"]
        assert spec["containers"][0]["envFrom"] == [
            {"configMapRef": {"name": rendering.one("ConfigMap").name}},
            {"secretRef": {"name": rendering.one("Secret").name}},
        ]

    def test_both_are_there_before_the_pods_and_go_after_them(self) -> None:
        rendering = render("staging", token=TOKEN)
        dependencies = rendering.one("Deployment").dependencies
        assert rendering.one("ConfigMap").urn in dependencies
        assert rendering.one("Secret").urn in dependencies
