"""An advice names the stack that was worked on, for another one may be selected."""

from __future__ import annotations

import pytest

from aegis_deploy.cli.advice import named, stack_of
from aegis_deploy.cli.main import COMMANDS, main
from aegis_deploy.common.errors import ExitCode


@pytest.mark.parametrize(
    ("advice", "told"),
    [
        ("aegis history", "aegis history --stack s"),
        (
            "name the one you trust: aegis rollback --to 3",
            "name the one you trust: aegis rollback --to 3 --stack s",
        ),
        (
            "choose another release: aegis history, then aegis rollback --to N",
            "choose another release: aegis history --stack s, then aegis rollback --to N --stack s",
        ),
        (
            "be sure, then: aegis recover --take-lock",
            "be sure, then: aegis recover --take-lock --stack s",
        ),
        (
            "wait, or `aegis recover` if it is dead",
            "wait, or `aegis recover --stack s` if it is dead",
        ),
        ("aegis deploy, with what mends it", "aegis deploy --stack s, with what mends it"),
        ("aegis config restore brings it back", "aegis config restore --stack s brings it back"),
        (
            "aegis recover --stack o has it judged; aegis rollback goes back",
            "aegis recover --stack o has it judged; aegis rollback --stack s goes back",
        ),
    ],
)
def test_each_command_does(advice: str, told: str) -> None:
    assert named(advice, "s") == told
    assert named(told, "s") == told, "once"
    assert named(advice, None) == advice


@pytest.mark.parametrize(
    "advice",
    [
        "aegis rollback --to 1 --stack o --allow-data-loss",
        "aegis diff 2 3 --stack o shows what was changed",
        "aegis deploy --image-digest D --stack o",
        "aegis gate check --help",
        "aegis promote SOURCE TARGET, such as: aegis promote staging production",
        "aegis history-page",
        "pulumi stack ls",
        "",
    ],
)
def test_what_names_one_or_is_of_none_is_as_it_was(advice: str) -> None:
    assert named(advice, "s") == advice


@pytest.mark.parametrize(
    ("words", "stack"),
    [
        (["deploy", "--yes", "-s", "x"], "x"),
        (["deploy", "--stack", "x", "--set", "a=1"], "x"),
        (["deploy", "--stack=x"], "x"),
        (["rollback", "-sx"], "x"),
        (["deploy"], None),
        (["deploy", "--stack"], None),
        (["preview", "-s", "a", "--stack", "b"], None),
    ],
)
def test_the_stack_is_the_one_that_was_typed(words: list[str], stack: str | None) -> None:
    assert stack_of(words) == stack


def test_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guard", "--stack", "far"]) == ExitCode.USAGE
    assert "aegis deploy --stack far --detach-guard" in capsys.readouterr().err


def test_every_command_of_one_stack_is_known() -> None:
    of_several = {"preview", "promote", "github comment", "github issue"}
    of_none = {it.words for it in COMMANDS if it.words.startswith("data ")}
    known = {it.words for it in COMMANDS if not it.hidden} - of_several - of_none
    assert [
        it for it in sorted(known) if named(f"aegis {it}", "s") != f"aegis {it} --stack s"
    ] == []
