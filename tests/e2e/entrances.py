"""Ways in to a stack's service through the lab's ingress controller, as people outside have them.

The lab has one after `make up ingress=contour`; its environment says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from tests.e2e.stand import Stand
from tests.e2e.traffic import Entrance

SECRET = "way-in"
"""The certificate of an Ingress, in the stack's namespace."""
MISSING = "the lab has no ingress controller: make up ingress=contour"


class Kind(StrEnum):
    """What says that requests for a host are the service's."""

    GATEWAY = "gateway"
    """An HTTPRoute that attaches to the lab's Gateway, with its certificate."""
    INGRESS = "ingress"
    """An Ingress, with a certificate of its own."""


def is_there(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the lab has an ingress controller."""
    return "AEGIS_GATEWAY" in environment


def entrance(at: Stand) -> Entrance:
    """Return the way in to a stand's service, whichever kind it is of."""
    assert is_there(at.environment), MISSING
    return Entrance(
        host=f"{at.project}.{at.environment['AEGIS_INGRESS_DOMAIN']}",
        address=at.environment["AEGIS_INGRESS_ADDRESS"],
        authority=Path(at.environment["AEGIS_INGRESS_AUTHORITY"]),
    )


def settings(at: Stand, kind: Kind) -> dict[str, object]:
    """Return a stack's settings with which there is the way in; None for what is left out."""
    by_gateway = kind is Kind.GATEWAY
    return {
        "host": entrance(at).host,
        "gateway": at.environment["AEGIS_GATEWAY"] if by_gateway else None,
        "tlsSecret": None if by_gateway else SECRET,
    }


def put_certificate(at: Stand, namespace: str) -> None:
    """Put a certificate for an Ingress into a namespace: the one that the Gateway shows as well."""
    shown = at.live("secret", "certificate", at.environment["AEGIS_GATEWAY"].partition("/")[0])
    path = at.directory / f"{SECRET}.json"
    path.touch(mode=0o600)
    metadata = {"name": SECRET, "namespace": namespace}
    path.write_text(json.dumps({**shown, "metadata": metadata}))
    try:
        at.kubectl("apply", "--server-side", "--filename", str(path))
    finally:
        path.unlink()
