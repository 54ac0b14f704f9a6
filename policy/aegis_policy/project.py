"""What the rules need to know of the project beside its resources."""

from __future__ import annotations

import re
from pathlib import Path

_REPLICAS = re.compile(r"""^\s+["']?[\w-]+:productionReplicas["']?:\s*["']?(\d+)""", re.MULTILINE)
"""Read without a YAML library: it takes longer to load than the rest of the pack."""


def production_replicas(directory: Path) -> int | None:
    """Production's replicas as the Pulumi.yaml of a directory has them; None when it has not.

    Args:
        directory: Where the project is.
    """
    try:
        text = (directory / "Pulumi.yaml").read_text(encoding="utf-8")
    except OSError:
        return None
    found = _REPLICAS.search(text)
    return int(found[1]) if found else None
