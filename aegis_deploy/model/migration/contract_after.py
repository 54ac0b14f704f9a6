"""When contracts are due: once a stack has done without what they remove for a set time. Pure.

The setting is `contractAfter`. No deploy runs a contract, whatever it says; see flows.contract.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aegis_deploy.model.setting_forms import Form, exactly

if TYPE_CHECKING:
    from aegis_deploy.model.release import Release

SETTING = "contractAfter"
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_PATTERN = r"[1-9][0-9]{0,3}[mhd]"


def _parse(text: object) -> timedelta:
    if not isinstance(text, str) or re.fullmatch(_PATTERN, text) is None:
        raise ValueError("is not a number of minutes, hours or days")
    return int(text[:-1]) * _UNITS[text[-1]]


FORM: Form[timedelta] = Form(_parse, exactly(_PATTERN))
"""The time that the setting gives: `90m`, `12h`, `7d`."""


def done_without_since(
    releases: Iterable[Release], fits: Callable[[Release], bool], *, enough: datetime
) -> datetime | None:
    """Say since when a stack's verified releases need nothing of what would be removed.

    A release that does, and that was let run since, begins the time anew, whatever became of it.

    Args:
        releases: The history, newest first; no more of it is read than needed.
        fits: Whether a release works without it.
        enough: Nobody needs to know more once it is since then.

    Returns:
        When the gate had passed the first of them; None where the newest ones need it.
    """
    since = None
    for it in releases:
        if not it.deploys or it.begun:
            continue
        if not fits(it):
            break
        if it.verified:
            since = it.ended or it.started
            if since <= enough:
                break
    return since
