"""Passphrases that a stack had before: whoever gives them can read what was encrypted then."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from aegis_deploy.pulumi_cli.cli_errors import Finished

FORMER = "PULUMI_CONFIG_PASSPHRASE_OLD"
"""How the variables are called that hold passphrases of before."""
WRONG = re.compile(r"incorrect passphrase", re.IGNORECASE)


def former_passphrases(environment: Mapping[str, str]) -> list[str]:
    """Return the passphrases that a stack had before, as far as they are given.

    Args:
        environment: Variables whose names begin with `FORMER` hold one each; the one whose name
            ends in ``_FILE`` names a file that has one a line.
    """
    found = []
    for name in sorted(it for it in environment if it.startswith(FORMER)):
        if name != f"{FORMER}_FILE":
            found.append(environment[name])
            continue
        with suppress(OSError, UnicodeError):
            found += Path(environment[name]).read_text().splitlines()
    return list(dict.fromkeys(it for it in found if it))


def with_any_passphrase(
    environment: Mapping[str, str], run: Callable[[Mapping[str, str]], Finished]
) -> Finished:
    """Run something with the present passphrase, and with those of before as long as it is wrong.

    Args:
        environment: Where they are given.
        run: Runs it with some variables over its environment; returns what came of it.
    """
    done = run({})
    for phrase in former_passphrases(environment):
        if not done.code or not WRONG.search(done.stderr + done.stdout):
            break
        again = run({"PULUMI_CONFIG_PASSPHRASE": phrase})
        done = done if again.code else again
    return done
