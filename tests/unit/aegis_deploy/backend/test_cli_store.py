"""What the CLI is asked for where a store cannot be read directly."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aegis_deploy.backend.factory import read_tags
from aegis_deploy.pulumi_cli.engine import Engine
from tests.unit.aegis_deploy.made_backend import MadeBackend

CLI = """#!{python}
import json, pathlib, sys
words = [word for word in sys.argv[1:] if not word.startswith(("--non", "--color"))]
print(json.loads(pathlib.Path({answers!r}).read_text())[" ".join(words)])
"""


def cli(directory: Path, answers: dict[str, object]) -> dict[str, str]:
    """Put a CLI on the path that knows these answers; return the environment that has it."""
    kept = directory / "answers.json"
    kept.write_text(json.dumps({words: json.dumps(said) for words, said in answers.items()}))
    program = directory / "pulumi"
    program.write_text(CLI.format(python=sys.executable, answers=str(kept)))
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin", "HOME": str(directory)}


def test_a_history_that_only_the_cli_can_read_has_the_keys_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MadeBackend(tmp_path)
    keys = [backend.update() for _ in range(3)]
    for kind in ("history", "checkpoint"):
        file = backend.file(keys[1], kind)
        file.rename(f"{file}.zst")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    listed = [
        {
            "kind": "update",
            "startTime": f"2026-01-02T03:04:0{number}.000Z",
            "message": f"Change {number}",
            "environment": {},
            "config": {"shop:token": {"secret": True}},
            "result": "succeeded",
        }
        for number in (3, 2)
    ]
    asked = "stack history --json --stack staging --page-size 2"
    session = backend.session()
    session.engine.environment = {
        **session.engine.environment,
        **cli(tmp_path, {asked: listed}),
    }

    found = session.store.releases(2)

    assert [(it.number, it.key, it.message) for it in found] == [
        (3, keys[2], "Change 3"),
        (2, keys[1], "Change 2"),
    ]
    assert session.store.count() is None
    assert session.store.checkpoint(found[0]) is not None
    assert session.store.checkpoint(found[1]) is None, "the CLI has to export it"
    # What needs no such file is still read directly.
    assert [it.message for it in session.store.releases(1)] == ["Change 3"]


@pytest.mark.parametrize("url", ["s3://state", "gs://state", "azblob://state", "postgres://db/x"])
def test_the_tags_of_a_bucket_are_read_with_nothing_installed_but_the_cli(
    tmp_path: Path, url: str
) -> None:
    asked = "stack tag ls --json --stack acme"
    engine = Engine(tmp_path, cli(tmp_path, {asked: {"aegis:verified": "1", "n": 2}}))
    found = read_tags(url, "shop", "staging", engine, "acme")
    assert found == {"aegis:verified": "1", "n": "2"}
