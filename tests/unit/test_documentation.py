"""What the documentation says, held against what it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.setting_keys import DATA_PROFILES, KEYS, Key

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _rows(title: str) -> dict[str, list[str]]:
    """Return a README section's table rows by their first cell, without code marks."""
    section = README.split(f"\n## {title}\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {row[0].strip("`"): row[1:] for row in cells}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_readme_has_every_setting_with_its_default_and_its_variable(key: Key[object]) -> None:
    _, default, variable = _rows("Settings")[key.full_name]
    assert variable.strip("`") == (key.variable or "")
    if key.default is not None:
        assert default == str(key.default)
    elif key.everywhere:
        value = re.search(
            rf'^  {key.full_name}: "?([^"\n]+)"?$', (ROOT / "Pulumi.yaml").read_text(), re.MULTILINE
        )
        assert value is not None
        assert default == f"`Pulumi.yaml`: {value[1]}"
    else:
        assert default.startswith("required") == key.required


def test_readme_has_no_setting_that_there_is_not() -> None:
    assert set(_rows("Settings")) - {"setting"} == {key.full_name for key in KEYS}


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
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`|\(|&& )make (?:-s |PYTHON=\S+ )?([a-z]+)\b", text, re.MULTILINE)
    assert set(named) <= targets
