"""The lab's own objects in its cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import cluster, stacks
from lab.command import run
from lab.settings import LabSettings

Object = Mapping[str, Any]


def kubectl(settings: LabSettings, *words: str, what: str, timeout: float = 120) -> str:
    """Run kubectl as the lab's administrator and return what it printed.

    Args:
        settings: The lab.
        words: Its arguments.
        what: What is being done, for the error: "look at the nodes".
        timeout: Seconds until it is ended.

    Raises:
        LabError: It failed, or did not end in time.
    """
    argv: list[str | Path] = [cluster.programs(settings) / "kubectl"]
    argv += ["--kubeconfig", settings.kubeconfig, *words]
    return run(argv, what=what, env=stacks.environment(settings), timeout=timeout)


def apply(settings: LabSettings, objects: Sequence[Object], *, what: str) -> None:
    """Apply objects; what is as it should be is left alone.

    Args:
        settings: The lab.
        objects: Their manifests.
        what: What they are, for the error: "CoreDNS".

    Raises:
        LabError: The API server refuses them.
    """
    manifest = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    run(
        [
            *(cluster.programs(settings) / "kubectl", "--kubeconfig", settings.kubeconfig),
            *("apply", "--server-side", "--force-conflicts", "--filename", "-"),
        ],
        what=f"apply {what}",
        stdin=json.dumps(manifest),
        env=stacks.environment(settings),
    )
