"""The lab's own objects in its cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lab import cluster, stacks
from lab.command import run
from lab.settings import LabSettings

Object = Mapping[str, Any]


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
