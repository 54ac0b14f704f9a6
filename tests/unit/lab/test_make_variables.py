"""A slip after `make TARGET` is said in the project's form, and nothing is done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import make_variables
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError

ROOT = Path(__file__).resolve().parents[3]


class TestGiven:
    """Make's own way to hand on what was typed."""

    @pytest.mark.parametrize(
        ("makeflags", "variables"),
        [
            ("", {}),
            ("w", {}),
            (" -- nodes=3", {"nodes": "3"}),
            ("-- nodes=3", {"nodes": "3"}),
            ("kw -j2 --jobserver-auth=3,4 -- nodes=3 purge=", {"nodes": "3", "purge": ""}),
            (r" -- args=-k\ 'a\ b'\ $$x\ \\y=1", {"args": r"-k 'a b' $x \y=1"}),
        ],
    )
    def test_is_read(self, makeflags: str, variables: dict[str, str]) -> None:
        assert make_variables.given(makeflags) == variables


class TestCheck:
    """Each key with its value, and what is allowed."""

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("nodes", ["1", "9", ""]),
            ("plugins", ["official", "found", "standin", ""]),
            ("tools", ["official", "build", ""]),
            ("ingress", ["contour", "none", ""]),
            ("purge", ["1", ""]),
            ("e2e", ["1", ""]),
            ("workers", ["1", "12", "auto", "logical", ""]),
            ("args", ["-k crashes", "x=1"]),
            ("since", ["HEAD~3"]),
            ("PYTHON", ["/usr/bin/python3.12"]),
        ],
    )
    def test_takes_what_is_allowed(self, name: str, values: list[str]) -> None:
        for value in values:
            make_variables.check({name: value})

    @pytest.mark.parametrize(
        ("name", "value", "allowed", "code"),
        [
            ("nodes", "0", "1 to 9", EXIT_REFUSED),
            ("nodes", "50", "1 to 9", EXIT_REFUSED),
            ("nodes", "three", "1 to 9", EXIT_REFUSED),
            ("plugins", "offical", "plugins=official", EXIT_USAGE),
            ("tools", "buid", "tools=build", EXIT_USAGE),
            ("ingress", "nginx", "ingress=contour", EXIT_USAGE),
            ("ingress", "1", "ingress=none", EXIT_USAGE),
            ("purge", "0", "it is 1 or left out", EXIT_USAGE),
            ("purge", "no", "it is 1 or left out", EXIT_USAGE),
            ("e2e", "0", "it is 1 or left out", EXIT_USAGE),
            ("workers", "0", "at least 1", EXIT_USAGE),
            ("workers", "many", "at least 1", EXIT_USAGE),
        ],
    )
    def test_refuses_a_value(self, name: str, value: str, allowed: str, code: int) -> None:
        with pytest.raises(LabError) as caught:
            make_variables.check({"args": "-x", name: value})
        assert caught.value.what == f"{name}={value} cannot be used"
        assert allowed in caught.value.why
        assert f"{name}=" in caught.value.next
        assert caught.value.code == code

    @pytest.mark.parametrize(
        ("name", "meant"), [("node", "nodes=3"), ("plugin", "plugins=3"), ("xyz", "`make` lists")]
    )
    def test_refuses_a_name(self, name: str, meant: str) -> None:
        with pytest.raises(LabError) as caught:
            make_variables.check({name: "3"})
        assert caught.value.what == f"{name}=3 is no variable of this Makefile"
        assert "nodes=" in caught.value.why
        assert meant in caught.value.next

    def test_knows_every_variable_of_the_makefile(self) -> None:
        text = (ROOT / "Makefile").read_text()
        # What a recipe takes from outside is written small.
        used = set(re.findall(r"\$\((?:if \$\()?([a-z][a-z0-9]*)\)", text))
        used |= set(re.findall(r"\$\(filter \S+,\$\(([a-z0-9]+)\)\)", text))
        assert {"nodes", "tools", "plugins", "purge", "e2e", "args", "workers"} <= used
        assert used - {"it"} <= set(make_variables._KNOWN)


class TestMake:
    """Every target that has an environment refuses before it does anything."""

    @staticmethod
    def make(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {it: os.environ[it] for it in ("PATH", "HOME") if it in os.environ}
        # The Python that runs this has all that is needed; no environment is made.
        mine = f"VENV={Path(sys.executable).parent}"
        return subprocess.run(
            ["make", "--no-print-directory", "PYTHON=true", mine, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @pytest.mark.parametrize("word", ["node=3", "purge=0", "plugins=offical", "tools=x"])
    def test_says_it_once_and_stops(self, word: str) -> None:
        done = self.make("venv", word)
        assert done.returncode != 0
        assert done.stdout == ""
        assert done.stderr.count("error: ") == 1
        assert f"error: {word} " in done.stderr

    @pytest.mark.parametrize("target", ["up", "down", "test", "status", "affected", "unit"])
    def test_does_it_before_anything_else(self, target: str) -> None:
        done = self.make("--dry-run", target, "nodes=3")
        check, *rest = [line for line in done.stdout.splitlines() if " -m " in line]
        assert check.endswith("-m lab.make_variables")
        assert rest

    def test_lets_pass_what_is_right(self) -> None:
        done = self.make("venv", "nodes=3", "args=-k 'a b'")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
