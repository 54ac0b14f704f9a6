"""Which releases fit the database as it is now. Pure.

A database says its revision D and the least head N of code that works with it; a release says its
head H, the newest revision that it knows, and the least revision M that it works with. They fit
when M <= D and N <= H. Nothing else decides, and no downgrade is ever run: going back is code,
never schema. What says nothing fits. The contract is in docs/schema.md; the service's own side of
it is `app/database/schema.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HEAD = "aegis.dev/schema-head"
LEAST = "aegis.dev/schema-least"
"""The annotations of a pod template that say what its code is."""
PATH = "aegis.dev/schema-path"
"""The one that says where its pods answer what their database is; without it at `USUAL_PATH`."""
JOB = "aegis.dev/schema-job"
"""The one of a migration's pod template: what it ends with says what the database is."""
CONTRACT_ARGS = "aegis.dev/schema-contract-args"
"""The one that says with which further arguments it takes away, too: a JSON list."""
PLAN_ARGS = "aegis.dev/schema-plan-args"
"""The one that says with which of them it only says what that would be."""
USUAL_PATH = "/version"
_MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class CodeSchema:
    """What a release says of itself.

    Attributes:
        head: H, the newest revision that it knows.
        least: M, the least revision that it works with.
    """

    head: int
    least: int

    def as_json(self) -> dict[str, int]:
        """Return it for machines."""
        return {"head": self.head, "least": self.least}

    def __str__(self) -> str:
        """The revisions that it works with, for people: from the least to the newest it knows."""
        return f"{self.least}..{self.head}"


@dataclass(frozen=True, kw_only=True)
class DatabaseSchema:
    """What a database says of itself.

    Attributes:
        revision: D, the last revision that was applied.
        least_head: N, the least head of code that works with it.
    """

    revision: int
    least_head: int

    def as_json(self) -> dict[str, int]:
        """Return it for machines."""
        return {"revision": self.revision, "leastHead": self.least_head}

    def __str__(self) -> str:
        """What it is, for people, to follow "the database is"."""
        works = f"works with code of revision {self.least_head} or later"
        return f"at revision {self.revision} and {works}"


def misfit(code: CodeSchema | None, database: DatabaseSchema | None) -> str:
    """Say why a release does not fit a database; empty when it does, or when one says nothing.

    Args:
        code: What the release says of itself.
        database: What the database says of itself.
    """
    if code is None or database is None:
        return ""
    if database.revision < code.least:
        return (
            f"it needs the database at revision {code.least} or later, and that is at "
            f"{database.revision}"
        )
    if code.head < database.least_head:
        return (
            f"the database works with code of revision {database.least_head} or later, and this is "
            f"of {code.head}: a contract removed what it uses"
        )
    return ""


def latest(found: Iterable[DatabaseSchema | None]) -> DatabaseSchema | None:
    """Return what a database is, of which some may have heard later than others.

    Both numbers only ever grow, so that the greatest anybody says is what it is.

    Args:
        found: What each says; None of those who know nothing.
    """
    known = [it for it in found if it is not None]
    if not known:
        return None
    return DatabaseSchema(
        revision=max(it.revision for it in known), least_head=max(it.least_head for it in known)
    )


def of_templates(manifests: Iterable[Mapping[str, Any]]) -> CodeSchema | None:
    """Return what the workloads of a release say together; None when none says anything.

    Args:
        manifests: The workloads, as a program declares them or a cluster has them.
    """
    return together(map(_of_template, manifests))


def together(said: Iterable[CodeSchema | None]) -> CodeSchema | None:
    """Return what parts that share a database say together: all have to fit.

    Args:
        said: What each says; None of those that say nothing.
    """
    known = [it for it in said if it is not None]
    if not known:
        return None
    return CodeSchema(head=min(it.head for it in known), least=max(it.least for it in known))


def of_outputs(outputs: Mapping[str, Any]) -> CodeSchema | None:
    """Return what a program's outputs say: `schema`, with `head` and `least`."""
    said = outputs.get("schema")
    if not isinstance(said, Mapping):
        return None
    head, least = _number(said.get("head")), _number(said.get("least"))
    return None if head is None or least is None else CodeSchema(head=head, least=least)


def of_answer(body: str) -> DatabaseSchema | None:
    """Return what a pod answered, or a migration ended with; None when it does not say it.

    Args:
        body: JSON with `revision` and `leastHead`, or with both in `database`. Of a text of several
            lines the last one that is such.
    """
    for text in (body, *reversed(body.splitlines())):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        said = found.get("database", found) if isinstance(found, dict) else None
        if isinstance(said, dict):
            revision, least = _number(said.get("revision")), _number(said.get("leastHead"))
            if revision is not None and least is not None:
                return DatabaseSchema(revision=revision, least_head=least)
    return None


def annotations_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the annotations of a workload's pod template."""
    value: Any = manifest
    for name in ("spec", "template", "metadata", "annotations"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _of_template(manifest: Mapping[str, Any]) -> CodeSchema | None:
    said = annotations_of(manifest)
    head, least = _number(said.get(HEAD)), _number(said.get(LEAST))
    return None if head is None or least is None else CodeSchema(head=head, least=least)


def _number(value: object) -> int | None:
    """A revision: a whole number, as text where it is an annotation."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:10])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return None
    return value
