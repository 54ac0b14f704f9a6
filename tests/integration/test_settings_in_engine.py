"""Bad settings in the real engine: one clear error, nothing registered, a non-zero exit."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.integration.conftest import Project
from tests.rendering import passed_on

pytestmark = pytest.mark.integration


def assert_refused_once(text: str, subject: str) -> None:
    """One error says it, and no traceback or second error comes with it."""
    diagnostics = text.partition("Diagnostics:")[2]
    assert diagnostics.count("error:") == 1, text
    assert subject in diagnostics
    assert "next:  pulumi " in diagnostics
    assert "Traceback" not in text
    assert "unhandled" not in text


class TestBadSettings:
    """A stack whose settings are wrong is left as it is."""

    @pytest.mark.parametrize("command", ["preview", "up"])
    def test_nothing_is_registered_and_everything_is_said(
        self, project: Project, command: str
    ) -> None:
        project.set("aegis:scale", "3")
        project.set("aegis:logLvel", "debug")
        yes = ["--yes"] if command == "up" else []
        done = project.pulumi(command, *yes, "--stack", project.stack)
        assert done.code != 0
        assert_refused_once(done.text, "2 settings are wrong for stack staging")
        assert "the nearest is aegis:logLevel" in done.text
        assert project.state() == []
        assert project.steps() == []

    def test_what_runs_is_left_alone(self, project: Project) -> None:
        assert project.up().code == 0
        before = project.state()
        project.steps()
        project.set("aegis:dataProfile", "real")
        done = project.up()
        assert done.code != 0
        assert_refused_once(done.text, "data does not belong in staging")
        assert project.state() == before
        assert project.steps() == []

    @pytest.mark.parametrize("project", ["qa"], indirect=True)
    def test_a_stack_that_is_no_environment_is_refused(self, project: Project) -> None:
        done = project.up()
        assert done.code != 0
        assert_refused_once(done.text, "allowed: development, staging, production")
        assert project.state() == []

    def test_a_token_in_plain_text_is_refused_and_not_repeated(self, project: Project) -> None:
        project.set("aegis:apiToken", "a-token-in-plain-text", "--plaintext")
        done = project.up()
        assert done.code != 0
        assert_refused_once(done.text, "is stored in plain text")
        assert "a-token-in-plain-text" not in done.text

    def test_the_command_it_gives_makes_it_right(self, project: Project) -> None:
        project.set("aegis:scale", "3")
        text = project.up().text
        (command,) = [line for line in text.splitlines() if "next:  pulumi config set" in line]
        project.expect(*command.partition("next:  pulumi ")[2].split())
        assert project.up().code == 0


def test_a_value_is_passed_on_as_the_schema_is_tested_with_it(project: Project) -> None:
    """What stands in a stack's file, and the text that the CLI makes of it for the program."""
    values = {
        "tenth": 0.10,
        "small": 0.00002,
        "thousand": 1e3,
        "whole": 4.0,
        "negative": -7,
        "yes": True,
        "text": "0.50",
        "lines": "a\n",
        "group": {"successRatio": 0.5, "versionCheck": True, "path": "/v", "canary": "3"},
    }
    file = project.directory / f"Pulumi.{project.stack}.yaml"
    written = yaml.safe_load(file.read_text())
    written["config"] |= {f"aegis:{name}": value for name, value in values.items()}
    # The three ways to spell a name that the schema accepts.
    written["config"] |= {"bare": "x", "aegis:config:old": "y"}
    file.write_text(yaml.safe_dump(written))
    shown = project.expect("config", "--json", "--stack", project.stack).text
    texts = {name: it["value"] for name, it in json.loads(shown).items() if "value" in it}
    group = texts.pop("aegis:group")
    assert json.loads(group) == values.pop("group")
    assert {f"aegis:{name}": passed_on(it) for name, it in values.items()}.items() <= texts.items()
    assert (texts["aegis:bare"], texts["aegis:old"]) == ("x", "y")
