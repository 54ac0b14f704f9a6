"""A service as the backend: what is asked of the CLI, with a stand-in for the CLI."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ops import checkpoint, history
from ops.checkpoint import SECRET, SIGNATURE
from ops.stack import Session
from tests.unit.ops.made_backend import deployment, urn

CLI = """#!{python}
import json, pathlib, sys
here = pathlib.Path({here!r})
words = [word for word in sys.argv[1:] if not word.startswith(("--non", "--color"))]
with (here / "asked").open("a") as asked:
    asked.write(" ".join(words) + "\\n")
answers = json.loads((here / "answers.json").read_text())
print(answers[" ".join(words)])
"""
STACK = "--stack acme/shop/staging"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A stack of a service."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(CLI.format(python=sys.executable, here=str(tmp_path)))
    program.chmod(0o755)
    closed, opened = _states()
    answers = {
        f"stack --show-name {STACK}": "staging",
        f"stack tag ls --json {STACK}": "{}",
        f"stack history --json {STACK} --page-size 2": json.dumps([_item(7), _item(6)]),
        f"stack export {STACK} --version 6": json.dumps(closed),
        f"stack export --show-secrets {STACK} --version 6": json.dumps(opened),
    }
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    return Session.open(
        "acme/shop/staging",
        tmp_path,
        {
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PULUMI_BACKEND_URL": "https://api.example.com",
        },
    )


def test_its_releases_have_the_numbers_it_gives_them(session: Session) -> None:
    found = history.releases(session, limit=2)
    assert [(it.number, it.key, it.result) for it in found] == [
        (7, "7", "succeeded"),
        (6, "6", "succeeded"),
    ]


def test_its_checkpoints_are_asked_for_by_version_and_decrypted_by_it(
    session: Session, tmp_path: Path
) -> None:
    release = history.releases(session, limit=2)[1]
    loaded = checkpoint.load(session, release)
    assert checkpoint.plain(loaded.outputs["word"]) == "hidden"
    assert history.deployed(session, release).version == "1.0.0"
    asked = (tmp_path / "asked").read_text()
    assert f"stack export --show-secrets {STACK} --version 6" in asked
    assert "hidden" not in asked


def _item(number: int) -> dict[str, Any]:
    return {
        "version": number,
        "kind": "update",
        "startTime": "2026-01-02T03:04:05.000Z",
        "endTime": "2026-01-02T03:04:15.000Z",
        "message": "Change",
        "environment": {},
        "config": {},
        "result": "succeeded",
    }


def _states() -> tuple[dict[str, Any], dict[str, Any]]:
    """The same state, its secret encrypted and decrypted."""
    closed: dict[str, Any] = {"version": 3, "deployment": deployment()}
    opened: dict[str, Any] = {"version": 3, "deployment": deployment()}
    mark = {SIGNATURE: SECRET}
    for state, secret in (
        (closed, {**mark, "ciphertext": "v1:abc"}),
        (opened, {**mark, "plaintext": json.dumps("hidden")}),
    ):
        root = state["deployment"]["resources"][0]
        assert root["urn"] == urn("pulumi:pulumi:Stack", "shop-staging")
        root["outputs"]["word"] = secret
    return closed, opened
