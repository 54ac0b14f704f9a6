"""Programs in Go and TypeScript: what `aegis` restores is what their SDKs registered."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.replay import planning
from aegis_deploy.replay.program import registering
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.integration.isolation import environment_in, place_provider
from tests.integration.waiting import SECONDS, no_process_left
from tests.languages.programs import GO, TYPESCRIPT, Language
from tests.series import every

_VOLATILE = ("created", "modified", "sourcePosition", "stackTrace")
_NAMED_AFTER_ITS_VERSION = ("default: gone", "given: provider")
"""The Go SDK reads without asking for a version, and the replay asks for the one it was given."""
_CHANGED_BY_THE_SECOND = [
    "create novelty",
    "delete legacy",
    "delete souvenir",
    "replace triggered",
    "update features",
    "update migrate",
    "update stash",
    "update tuned",
    "update web",
    "update web",
    "update web-secret",
    "update web-settings",
    "update widget",
]


@dataclass(frozen=True)
class Foreign:
    """A program of another language, with a stack of its own.

    Attributes:
        language: What it is written in.
        directory: The program's directory.
        bare: A directory with nothing but the project's Pulumi.yaml.
        environment: The environment of the program, which has its language host.
        without: The same without the language host.
    """

    language: Language
    directory: Path
    bare: Path
    environment: dict[str, str]
    without: dict[str, str]

    def pulumi(self, *words: str) -> str:
        """Run the CLI where the program is."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", "--color=never", *words, "--stack", "far"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def choose(self, version: str) -> None:
        """Choose the release that the program is."""
        plain = {"version": version, "namespace": "far-away", "image": "python:3"}
        hidden = {"password": f"password-of-{version}"}
        self.pulumi(
            *("config", "set-all"),
            *(word for it in plain.items() for word in ("--plaintext", "=".join(it))),
            *(word for it in hidden.items() for word in ("--secret", "=".join(it))),
        )

    def up(self, version: str) -> None:
        """Deploy a release."""
        self.choose(version)
        self.pulumi("up", "--yes", "--skip-preview")

    def preview(self, version: str) -> list[str]:
        """What a release would change."""
        self.choose(version)
        shown = json.loads(self.pulumi("preview", "--json"))
        return sorted(
            f"{step['op']} {step['urn'].rpartition('::')[2]}"
            for step in shown["steps"]
            if step["op"] not in ("same", "read")
        )

    @property
    def journal(self) -> Path:
        """What the provider did, a line a step."""
        return self.directory.with_name("journal")

    @property
    def session(self) -> Session:
        """The stack as `aegis` opens it, where there is neither program nor language."""
        return Session.open("far", self.bare, self.without)


@pytest.fixture(params=[GO, pytest.param(TYPESCRIPT, marks=every)], ids=str)
def far(request: pytest.FixtureRequest, tmp_path: Path, programs: Path) -> Iterator[Foreign]:
    language: Language = request.param
    directory, bare, hosts = (tmp_path / name for name in ("program", "bare", "hosts"))
    for path in (directory, bare, hosts, tmp_path / "backend"):
        path.mkdir()
    language.lay(directory)
    language.place_host(hosts)
    (bare / "Pulumi.yaml").write_text((directory / "Pulumi.yaml").read_text())
    place_provider(tmp_path, "tests.integration.reading_provider")
    without = {
        **environment_in(tmp_path, programs),
        "PULUMI_NODEJS_TRANSPILE_ONLY": "true",
    }
    environment = {**without, "PATH": f"{hosts}:{without['PATH']}"}
    Engine(directory, environment).expect("stack", "init", "far")
    with no_process_left(tmp_path):
        yield Foreign(language, directory, bare, environment, without)


def test_a_release_of_another_language_is_restored_exactly(far: Foreign) -> None:
    far.up("v1")
    recorded = _state(far)
    far.up("v2")
    session = far.session
    release = next(item for item in session.store.releases() if item.number == 1)
    planned = planning.plan(*checkpoint.both(session, release))
    planned.require()
    assert planned.left == ("ConfigMap souvenir",)
    assert session.preview(
        program=registering(planned), exclude=planned.preview_exclude, refresh=True
    )
    far.journal.unlink()
    session.import_state(planned.prepare(session.export()))
    outcome = session.update(
        program=registering(planned), message="back", refresh=True, exclude=planned.exclude
    )
    assert outcome.succeeded, outcome.failures
    made = [step for step in far.journal.read_text().splitlines() if step.startswith("create")]
    assert made == ["create ConfigMap legacy", "create ConfigMap triggered"]
    assert set(_unlike(recorded, _state(far))) == {
        # What is code, and what would have kept the second release's value.
        "web: resourceHooks",
        "tuned: ignoreChanges",
        *(_NAMED_AFTER_ITS_VERSION if far.language is GO else ()),
    }
    assert far.preview("v1") == []
    assert far.preview("v2") == _CHANGED_BY_THE_SECOND


def _unlike(recorded: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Say in what two states differ: which attributes of which resources."""
    for urn in {*recorded, *found}:
        name = urn.rpartition("::")[2]
        if urn not in recorded or urn not in found:
            yield f"{name}: {'gone' if urn in recorded else 'new'}"
            continue
        for key in {*recorded[urn], *found[urn]}:
            if recorded[urn].get(key) != found[urn].get(key):
                yield f"{name}: {key}"


def _state(far: Foreign) -> dict[str, Any]:
    """The state by URN, without times and places; dependencies as the set they are."""
    exported = json.loads(far.pulumi("stack", "export", "--show-secrets"))
    return {item["urn"]: _ordered(item) for item in exported["deployment"]["resources"]}


def _ordered(item: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in item.items() if key not in _VOLATILE}
    kept["dependencies"] = sorted(item.get("dependencies") or ())
    found = item.get("propertyDependencies") or {}
    kept["propertyDependencies"] = {key: sorted(found[key] or ()) for key in found}
    return kept
