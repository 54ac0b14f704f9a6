"""`aegis rollback` of programs in Go and TypeScript, from where there is neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_deploy.common.errors import ExitCode
from tests.e2e import stack_file
from tests.e2e.comparison import unlike_release
from tests.e2e.foreign_stand import SECONDS, STACK, foreign
from tests.languages.programs import GO, TYPESCRIPT, Language
from tests.series import every

_FIRST, _SECOND = "first-password", "second-password"
_SEEN = {"bakeSeconds": "1", "successRatio": "0", "p99Ms": "60000"}
"""What a gate asks for that only looks: how quickly this machine answers is not tested here."""


@every
@pytest.mark.parametrize("language", [GO, TYPESCRIPT], ids=str)
def test_a_release_is_restored_where_its_language_is_not(
    language: Language, tmp_path: Path
) -> None:
    program, bare = tmp_path / "program", tmp_path / "bare"
    program.mkdir()
    bare.mkdir()
    with foreign(program, language) as far:
        for name, value in {**_SEEN, "path": "/"}.items():
            stack_file.change(far.directory, STACK, {f"gate.{name}": value})
        far.choose("v1", _FIRST)
        _aegis(program, far.environment, "deploy", "--yes")
        first = far.live()
        far.up("v2", _SECOND)
        assert far.live() != first
        (bare / "Pulumi.yaml").write_text((program / "Pulumi.yaml").read_text())
        hosts, _, search = far.environment["PATH"].partition(":")
        assert hosts == str(program / "hosts")
        shown = _aegis(bare, {**far.environment, "PATH": search}, "rollback", "--yes", "--to", "1")
        assert "ConfigMap souvenir: the cluster may still have it" in shown
        assert "-password" not in shown
        assert [path.name for path in bare.iterdir()] == ["Pulumi.yaml"]
        assert far.live() == first
        assert unlike_release(far, STACK, 1) == []
        if language is TYPESCRIPT:
            # And with nobody asking for it, when a release fails.
            far.choose("v2", _SECOND)
            far.run(
                "pulumi",
                "config",
                "set",
                "image",
                f"{os.environ['AEGIS_RUNTIME_IMAGE']}-none",
                "--stack",
                STACK,
            )
            deploy = ("deploy", "--yes", "--force")
            _aegis(program, far.environment, *deploy, expect=ExitCode.ROLLED_BACK)
            assert far.live() == first
        else:
            far.unchanged("v1", _FIRST)
            # Nobody said what this service answers at: its readiness probe does.
            stack_file.change(far.directory, STACK, {"gate": None})
            asked = [word for it in _SEEN.items() for word in ("--set", "=".join(it))]
            shown = _aegis(program, far.environment, "gate", "check", "--json", *asked)
            figures = json.loads(shown)["gate"]["figures"]
            assert figures["outcomes"].get("200"), shown


def _aegis(
    directory: Path, environment: dict[str, str], *words: str, expect: int = ExitCode.OK
) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("aegis"), *words, "--stack", STACK],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout
