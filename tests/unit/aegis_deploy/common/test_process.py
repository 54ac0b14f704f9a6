"""Processes of this machine, and in which space they are counted."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from aegis_deploy.common import process
from aegis_deploy.common.process import Machine, user


def test_this_space_and_boot_have_one_name_and_this_process_is_in_it() -> None:
    here = Machine.here()
    assert here == Machine.here()
    assert here.boot
    assert here.kernel[:13] not in here.boot
    found = here.find(os.getpid())
    assert found is not None
    assert found.ticks


def test_where_the_space_is_not_told_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path) -> Path:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "readlink", unreadable)
    here = Machine.here()
    assert here.boot == ""
    assert not here.sees_all


@pytest.mark.parametrize("lives", [True, False])
def test_a_process_that_is_hidden_from_this_user_is_asked_for_by_a_signal(
    monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    asked: list[int] = []

    def answers(pid: int) -> bool:
        asked.append(pid)
        return lives

    monkeypatch.setattr(process, "_answers", answers)
    found = Machine.here().find(2**22 + 1)
    assert asked == [2**22 + 1]
    assert (found is not None) is lives


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found"), OSError("No username")])
def test_a_user_without_a_name_is_named_by_a_number(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nameless() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user() == str(os.getuid())
