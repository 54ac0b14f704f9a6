"""What the rules need to know of the project beside its resources."""

from __future__ import annotations

import re
from pathlib import Path

_REPLICAS = re.compile(r"""^\s+["']?[\w-]+:productionReplicas["']?:\s*["']?(\d+)""", re.MULTILINE)
"""Read without a YAML library: it takes longer to load than the rest of the pack."""


def production_replicas(directory: Path) -> int | None:
    """Production's replicas as the nearest Pulumi.yaml has them; None when it has not.

    Pulumi's language host runs a policy pack in the pack's own directory, wherever pulumi runs
    (sdk/python/cmd/pulumi-language-python/main.go, RunPlugin); the project is around that.

    Args:
        directory: Where the pack runs: the project is there or above it.
    """
    for place in (directory, *directory.parents):
        try:
            text = (place / "Pulumi.yaml").read_text(encoding="utf-8")
        except OSError:
            continue
        found = _REPLICAS.search(text)
        return int(found[1]) if found else None
    return None
