"""Helm releases (``kubernetes:helm.sh/v3:Release``): what their record does not hold.

The provider installs the chart when the resource is registered, and a checkpoint has the values but
not the chart. One that is fetched in a fixed version is the same at any time. One that lies in the
checkout, or of which the newest version is taken, may be another one by now.
"""

from __future__ import annotations

import re

from aegis_deploy.stack.checkpoint import Resource
from aegis_deploy.stack.property_path import found

_RELEASE = "kubernetes:helm.sh/v3:Release"
_LOCAL = re.compile(r"(\.|/|file://)|.*\.(tgz|tar\.gz)$")
_FIXED = re.compile(r"v?\d+\.\d+\.\d+([-+].*)?$")


def not_recorded(item: Resource) -> str:
    """Why registering a Helm release again may install another chart; empty when it does not."""
    if item.type != _RELEASE:
        return ""
    chart = str(found(item.inputs, ["chart"]) or "")
    if re.match(r"https?://", chart):
        return ""
    if _LOCAL.match(chart):
        return f"its chart {chart} is made of files, which may have changed since"
    if not _FIXED.match(str(found(item.inputs, ["version"]) or "")):
        return f"it names no one version of its chart {chart}, so that the newest would be taken"
    return ""
