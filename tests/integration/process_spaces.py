"""Process namespaces, as containers have: what runs in one is counted anew, and ends as a whole."""

from __future__ import annotations

import subprocess

from tests.integration.waiting import SECONDS

IN_A_SPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""Before a command that is to be the first process of one."""


def can_be_made() -> bool:
    """Whether this process may make namespaces."""
    try:
        made = subprocess.run(
            [*IN_A_SPACE, "true"], check=False, capture_output=True, timeout=SECONDS
        )
    except OSError:
        return False
    return made.returncode == 0
