"""A deployer that a test starts where processes are counted anew, as in a container.

``hold PROJECT BACKEND`` claims the stack, says so, and works until its input ends. ``judge``
says, as JSON, who holds the stack as far as it can tell, and whether it may begin itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from aegis_deploy.common.errors import AegisError
from aegis_deploy.locking.lease import claimed
from aegis_deploy.locking.lock_holders import holders
from aegis_deploy.stack.session import Session


def main(what: str, project: str, backend: str) -> None:
    """Do what the arguments say."""
    environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{backend}"}
    session = Session.open("staging", Path(project), environment)
    if what == "hold":
        with claimed(session, intent="deploy", message="a living deploy"):
            print("held", flush=True)  # noqa: T201 - its one way to say so
            sys.stdin.read()
        return
    lives = [holder.life.value for holder in holders(session)]
    try:
        with claimed(session, intent="deploy"):
            begun = True
    except AegisError:
        begun = False
    print(json.dumps({"lives": lives, "begun": begun}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
