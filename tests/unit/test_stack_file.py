"""tests.e2e.stack_file: what `pulumi config set` would have made of a stack's file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.e2e.stack_file import change


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program with a stack that has settings."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    config = {"shop:version": "v1", "shop:gate": {"path": "/"}, "other:region": "west"}
    content = {"encryptionsalt": "v1:salt", "config": config}
    (tmp_path / "Pulumi.one.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def _read(program: Path, stack: str) -> object:
    return yaml.safe_load((program / f"Pulumi.{stack}.yaml").read_text())


def test_what_is_not_named_stays(program: Path) -> None:
    change(program, "one", {"version": "2", "gate.bakeSeconds": "2", "gate.reads": "true"})
    assert _read(program, "one") == {
        "encryptionsalt": "v1:salt",
        "config": {
            "shop:version": "2",
            "shop:gate": {"path": "/", "bakeSeconds": 2, "reads": True},
            "other:region": "west",
        },
    }


@pytest.mark.parametrize("text", ["007", "1.0.0", "50%", "-", "yes", "v1", ""])
def test_what_is_no_number_is_text_in_a_group_too(program: Path, text: str) -> None:
    change(program, "one", {"gate.path": text})
    assert yaml.safe_load((program / "Pulumi.one.yaml").read_text())["config"]["shop:gate"] == {
        "path": text
    }


def test_a_setting_is_taken_away_whether_it_is_there_or_not(program: Path) -> None:
    change(program, "one", {"version": None, "nothing": None, "gate.path": None})
    assert _read(program, "one") == {
        "encryptionsalt": "v1:salt",
        "config": {"shop:gate": {}, "other:region": "west"},
    }


def test_a_stack_without_a_file_gets_one(program: Path) -> None:
    change(program, "two", {"version": "v1"})
    assert _read(program, "two") == {"config": {"shop:version": "v1"}}
