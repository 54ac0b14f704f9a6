"""Which data set a release works on, and which of them there are. Pure.

A data set is a masked sample that is named by its content (docs/data.md). On a stack's own server
each has a database of its own, so that several lie side by side and a release goes on with the one
that it was verified with. The contract is in docs/datasets.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_deploy.model.database.schema import CodeSchema, DatabaseSchema, annotations_of, misfit

DATASET = "aegis.dev/dataset"
"""The annotation of a pod template that names the data set that its pods work on."""
LOADER = "aegis.dev/dataset-loader"
"""The annotation of a workload that is a server data sets can be loaded to: the Secret of its
namespace that says as whom."""
LOADER_URL = "DATASET_LOADER_URL"
"""What that Secret has the address under."""
SETTING = "dataset"
"""The project's setting that names it."""
NAME = r"[0-9a-f]{64}"
"""What its name is: a SHA-256."""
_SHORT = 12
_BESIDE = "loading"


def short(name: str) -> str:
    """Return a data set's name as people and databases have it."""
    return name[:_SHORT]


def database_of(home: str, name: str) -> str:
    """Return what the database of a data set is called.

    Args:
        home: The server's first database, which no data set is in.
        name: The data set's name, or the short form of it.
    """
    return f"{home}_{short(name)}"


def beside(database: str) -> str:
    """Return what a data set's database is called until all of it is there."""
    return f"{database}_{_BESIDE}"


def short_of(home: str, database: str) -> str:
    """Return the short name of the data set that a database is of; empty of any other database."""
    found = re.fullmatch(rf"{re.escape(home)}_([0-9a-f]{{{_SHORT}}})", database)
    return found[1] if found else ""


def of_manifest(manifest: Mapping[str, Any]) -> str:
    """Return the data set that a workload's pods work on; empty where it does not say."""
    return of_annotations(annotations_of(manifest))


def of_annotations(annotations: Mapping[str, Any]) -> str:
    """Return the data set that a pod's annotations say it works on; empty where they say none."""
    return _name(annotations.get(DATASET))


def of_manifests(manifests: Iterable[Mapping[str, Any]]) -> str:
    """Return the data set that a release's workloads work on; empty where none says one."""
    return next(filter(None, map(of_manifest, manifests)), "")


def of_outputs(outputs: Mapping[str, Any]) -> str:
    """Return the data set that a program's outputs name; empty where they name none."""
    return _name(outputs.get(SETTING))


def _name(said: object) -> str:
    return said if isinstance(said, str) and re.fullmatch(NAME, said) else ""


@dataclass(frozen=True, kw_only=True)
class Databases:
    """What is known of a stack's databases.

    Attributes:
        first: The one that no data set is in; None where nobody has said anything of it.
        datasets: Those of data sets that are there, by the short name; None where it is not known
            what schema one has.
    """

    first: DatabaseSchema | None = None
    datasets: Mapping[str, DatabaseSchema | None] = field(default_factory=dict)

    def of(self, dataset: str) -> DatabaseSchema | None:
        """Return what is known of the database that a release on a data set has.

        Args:
            dataset: The data set's name; empty for none.
        """
        return self.datasets.get(short(dataset)) if dataset else self.first

    def with_one(self, dataset: str, schema: DatabaseSchema) -> Databases:
        """Return the same with what is known of one of them.

        Args:
            dataset: The data set that it is of; empty for none.
            schema: What it is.
        """
        if not dataset:
            return replace(self, first=schema)
        return replace(self, datasets={**self.datasets, short(dataset): schema})

    def misfit(self, code: CodeSchema | None, dataset: str) -> str:
        """Say why a release cannot run on its database as it is now; empty when it can.

        Args:
            code: What the release says of itself.
            dataset: The data set that it works on; empty for none.
        """
        if dataset and short(dataset) not in self.datasets:
            return (
                f"its data set {short(dataset)} is not on the server any more; once it is there "
                "again: aegis data refresh --load-only --from PLACE"
            )
        return misfit(code, self.of(dataset))
