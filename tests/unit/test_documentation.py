"""What the documentation says, held against what it speaks of."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from aegis_deploy.cli.main import build
from aegis_deploy.model.gate_settings import FIELDS, GateSettings
from components.postgres_settings import FIELDS as POSTGRES_FIELDS
from components.postgres_settings import PostgresSettings
from components.setting_keys import DATA_PROFILES, GATE, KEYS, Key
from lab.toolchain import PULUMI_VERSION

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Each README: its text, what its table of settings is headed with, and its word for "required".
READMES = {
    "README.md": ("Settings", "required", README),
    "README.ko.md": ("설정", "필수", (ROOT / "README.ko.md").read_text(encoding="utf-8")),
}


def _rows(title: str, readme: str = README) -> dict[str, list[str]]:
    """Return a README section's table rows by their first cell, without code marks."""
    section = readme.split(f"\n## {title}\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {row[0].strip("`"): row[1:] for row in cells}


def _limits(schema: Mapping[str, Any]) -> set[str]:
    """What a person has to be told of the values that a schema accepts."""
    found = {str(schema[it]) for it in ("minimum", "maximum") if it in schema}
    found |= {it for it in schema.get("enum", ()) if isinstance(it, str)} | {
        *schema.get("required", ())
    }
    return found.union(*map(_limits, schema.get("anyOf", ())))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
class TestSettings:
    """Each README's table has every setting as the definition has it."""

    def test_say_in_english_what_errors_and_editors_say(self, key: Key[object]) -> None:
        what, allowed, *_ = _rows("Settings")[key.full_name]
        assert (what, allowed) == (key.what, key.allowed)

    @pytest.mark.parametrize("readme", READMES)
    def test_have_their_limits_default_and_variable(self, key: Key[object], readme: str) -> None:
        title, required, text = READMES[readme]
        _, allowed, default, variable = _rows(title, text)[key.full_name]
        # The gate's own table has the limits of its members.
        limits = set() if key is GATE else _limits(key.form.schema)
        assert {it for it in limits if not _said(it, allowed)} == set()
        assert variable.strip("`") == (key.variable or "")
        if key.default is not None:
            assert default == str(key.default)
        elif key.everywhere:
            value = re.search(
                rf'^  {key.full_name}: "?([^"\n]+)"?$',
                (ROOT / "Pulumi.yaml").read_text(),
                re.MULTILINE,
            )
            assert value is not None
            assert default == f"`Pulumi.yaml`: {value[1]}"
        else:
            assert default.startswith(required) == key.required


@pytest.mark.parametrize("name", FIELDS)
class TestGate:
    """Each README's table has every member of the gate as the definition has it."""

    def test_says_in_english_what_errors_and_editors_say(self, name: str) -> None:
        what, allowed, _ = _rows("The gate")[name]
        assert (what, allowed) == (FIELDS[name].what, FIELDS[name].allowed)

    @pytest.mark.parametrize("readme", READMES)
    def test_has_its_limits_and_default(self, name: str, readme: str) -> None:
        title, _, text = READMES[readme]
        _, allowed, default = _rows("The gate" if readme == "README.md" else title, text)[name]
        limits = _limits(FIELDS[name].form.schema)
        assert {it for it in limits if not _said(it, allowed)} == set()
        value = getattr(GateSettings(), FIELDS[name].attribute)
        none = "none" if readme == "README.md" else "없음"
        assert default == (
            none if value is None else json.dumps(value).removesuffix(".0").strip('"')
        )


@pytest.mark.parametrize("name", POSTGRES_FIELDS)
def test_the_page_says_of_a_database_of_one_s_own_what_errors_and_editors_say(name: str) -> None:
    page = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
    what, allowed, default = _rows("In the stack's own namespace", page)[name]
    field = POSTGRES_FIELDS[name]
    assert (what, allowed) == (field.what, field.allowed)
    value = getattr(PostgresSettings(), field.attribute)
    said = str(value).lower() if isinstance(value, bool) else str(value)
    assert default == ("none" if value is None else said)


def _said(limit: str, text: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(limit)}(?![.\d]|[a-z])", text) is not None


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_has_no_setting_that_there_is_not(readme: str) -> None:
    title, _, text = READMES[readme]
    named = set(re.findall(r"^\| `(aegis:\w+)`", text, re.MULTILINE))
    assert named == {key.full_name for key in KEYS}
    members = _rows("The gate" if readme == "README.md" else title, text).keys()
    assert {it for it in members if it.isalnum() and it.isascii()} - FIELDS.keys() <= {"member"}


@pytest.mark.parametrize("stack", DATA_PROFILES)
def test_readme_pairs_stacks_and_data_as_the_program_does(stack: str) -> None:
    permitted, _ = _rows("Data profiles")[stack]
    assert tuple(re.findall(r"`(\w+)`", permitted)) == DATA_PROFILES[stack]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`|\(|&& )make (?:-s |PYTHON=\S+ )?([a-z0-9-]+)\b", text, re.MULTILINE)
    assert set(named) <= targets


def _blocks(page: Path, language: str) -> list[str]:
    """Return a page's blocks of code in a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words after each `aegis` in some lines of shell."""
    for line in text.splitlines():
        for found in re.findall(r"(?:^|[\s\[(`])aegis ([^#&|;`\])>]+)", line):
            yield shlex.split(found.replace("...", ""))


def _unknown(words: list[str]) -> str:
    """Say what of a command line the command does not know; empty for nothing."""
    command: Any = get_command(build())
    path = []
    while words and hasattr(command, "commands"):
        path.append(words[0])
        if words[0] not in command.commands:
            return f"aegis {' '.join(path)}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for it in command.params for name in (*it.opts, *it.secondary_opts)}
    wrong = [it for it in words if it.startswith("-") and it.partition("=")[0] not in options]
    return f"aegis {' '.join(path)}: {' '.join(wrong)}" if wrong else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_aegis_command_line_that_is_shown_is_one(page: Path) -> None:
    shown = [*_blocks(page, "sh"), *_blocks(page, "yaml")]
    lines = [words for block in shown for words in _commands(block)]
    assert [wrong for words in lines if (wrong := _unknown(words))] == []


def test_the_gitlab_example_is_whole() -> None:
    [text] = _blocks(ROOT / "docs" / "pipeline.md", "yaml")
    example = yaml.safe_load(text)
    assert example["variables"]["PULUMI_VERSION"] == PULUMI_VERSION
    jobs = {name: it for name, it in example.items() if "script" in it}
    assert {"test", "preview", "build", "deploy-staging", "deploy-production"} <= set(jobs)
    assert {it["stage"] for it in jobs.values()} == set(example["stages"])
    for job in jobs.values():
        for line in job["script"]:
            subprocess.run(["bash", "-n", "-c", line], check=True)
