"""Samples of the service's own database, taken as a person takes them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.integration.data_commands import Data
from tests.integration.databases import ROOT

_ROWS = """
TRUNCATE customers CASCADE;
INSERT INTO customers (name, email)
  SELECT 'person ' || n, 'person' || n || '@example.org' FROM generate_series(1, {0}) n;
INSERT INTO records (customer_id, name, status)
  SELECT id, 'record ' || id, 'active' FROM customers;
"""


def take(data: Data, rows: Mapping[str, int]) -> dict[str, Path]:
    """Take samples, each of other rows than the others; return their directories.

    Args:
        data: The commands; what they read has no tables yet.
        rows: How many customers there are when a sample is taken, by its name.
    """
    assert data.production.migrate().returncode == 0
    shutil.copy(ROOT / "data-rules.yaml", data.directory / "rules.yaml")
    for name, count in rows.items():
        data.production.execute(_ROWS.format(count))
        ran = data.sample(name)
        assert ran.code == 0, ran.told
    return {name: data.directory / name for name in rows}
