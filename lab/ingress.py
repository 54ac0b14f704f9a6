"""The way in from outside the cluster: whether the lab has one, and how it is reached.

What runs it is in `lab.contour`. A lab that was given one has it until it is told otherwise.
"""

from __future__ import annotations

from pathlib import Path

from lab import pki
from lab.choices import Ingress
from lab.settings import LabSettings
from lab.toolchain import CONTOUR, Tool

NAMESPACE = "aegis-lab-ingress"
CLASS = "contour"
"""The IngressClass, which is the cluster's default, and the GatewayClass."""
GATEWAY = "lab"
"""The Gateway in `NAMESPACE`, to which routes of every namespace may attach."""
DOMAIN = "aegis.test"
"""The Gateway's certificate is for every name of one label below it; nobody can register it."""


def wanted(settings: LabSettings) -> bool:
    """Return whether the lab is to have an ingress controller: as asked for, else as it has."""
    if settings.ingress is not None:
        return settings.ingress is not Ingress.NONE
    return is_there(settings)


def is_there(settings: LabSettings) -> bool:
    """Return whether the lab has an ingress controller, whether it runs or not."""
    return _record(settings).exists()


def note(settings: LabSettings, *, there: bool) -> None:
    """Remember whether the lab has an ingress controller."""
    if there:
        _record(settings).touch()
    else:
        _record(settings).unlink(missing_ok=True)


def tools(settings: LabSettings) -> tuple[Tool, ...]:
    """Return what has to be built for it; nothing where none is wanted."""
    return (CONTOUR,) if wanted(settings) else ()


def variables(settings: LabSettings) -> dict[str, str]:
    """Return the environment variables that say how to come in; none where there is no way.

    Args:
        settings: The lab.

    Returns:
        AEGIS_INGRESS_ADDRESS: where it listens, on 80 and 443. AEGIS_INGRESS_DOMAIN: the domain of
        its certificate. AEGIS_INGRESS_AUTHORITY: the file with the certificate of who signed that.
        AEGIS_GATEWAY: the Gateway as `<namespace>/<name>`.
    """
    if not is_there(settings):
        return {}
    return {
        "AEGIS_INGRESS_ADDRESS": str(settings.addresses.ingress),
        "AEGIS_INGRESS_DOMAIN": DOMAIN,
        "AEGIS_INGRESS_AUTHORITY": str(pki.authority_file(settings)),
        "AEGIS_GATEWAY": f"{NAMESPACE}/{GATEWAY}",
    }


def _record(settings: LabSettings) -> Path:
    return settings.state / "ingress"
