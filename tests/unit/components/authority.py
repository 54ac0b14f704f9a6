"""An authority that signs what databases are known by."""

from __future__ import annotations

from functools import cache

from tests.unit.aegis_deploy.certificates import pair


@cache
def certificate() -> str:
    """A certificate that signed itself."""
    return pair(())[0].decode()
