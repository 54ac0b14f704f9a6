"""What `make test` leaves to the long series; docs/testing.md lists it."""

from __future__ import annotations

import os

import pytest

ALL = os.environ.get("AEGIS_FAULTS") == "all"
"""Whether every fault and every kind is wanted, as `make faults` and `make everything` do."""
every = pytest.mark.skipif(not ALL, reason="`make faults` or `make everything` runs this")
"""For what has a sister in `make test`."""
deaths = pytest.mark.skipif(
    "AEGIS_DEATHS" not in os.environ, reason="`make deaths` or `make everything` runs this"
)
"""For a kind of death that has a sister in `make test`."""
