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
from dataclasses import dataclass, replace
from typing import Any

HEAD = "aegis.dev/schema-head"
LEAST = "aegis.dev/schema-least"
"""The annotations of a pod template that say what its code is."""
IRREVERSIBLE = "aegis.dev/schema-irreversible"
"""The one that says the newest revision that no earlier code works after; without it there is none.
The migration's template has it as well, for it may be all of a release that came to be."""
PATH = "aegis.dev/schema-path"
"""The one that says where its pods answer what their database is; without it at `USUAL_PATH`."""
JOB = "aegis.dev/schema-job"
"""The one of a migration's pod template: what it ends with says what the database is."""
CONTRACT_ARGS = "aegis.dev/schema-contract-args"
"""The one that says with which further arguments it takes away, too: a JSON list."""
PLAN_ARGS = "aegis.dev/schema-plan-args"
"""The one that says with which of them it only says what that would be."""
REHEARSE_ARGS = "aegis.dev/schema-rehearse-args"
"""The one that says with which of them it tries all that on a copy."""
PROBE_ARGS = "aegis.dev/schema-probe-args"
"""The one that says with which of them it tries its own reads and writes on a copy that stayed."""
KEEP = ("AEGIS_REHEARSAL", "keep")
"""The variable by which a rehearsal is told to leave its copy, and its value."""
REVISIONS = "aegis.dev/schema-revisions"
"""The one that says which command lists its revisions in a checkout: a JSON list."""
USUAL_PATH = "/version"
_MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class CodeSchema:
    """What a release says of itself.

    Attributes:
        head: H, the newest revision that it knows.
        least: M, the least revision that it works with.
        irreversible: The newest revision of its line that no earlier code works after; 0 of one
            without such.
    """

    head: int
    least: int
    irreversible: int = 0

    def as_json(self) -> dict[str, int]:
        """Return it for machines."""
        return _with_irreversible({"head": self.head, "least": self.least}, self.irreversible)

    def __str__(self) -> str:
        """The revisions that it works with, for people: from the least to the newest it knows."""
        return f"{self.least}..{self.head}"


@dataclass(frozen=True, kw_only=True)
class DatabaseSchema:
    """What a database says of itself.

    Attributes:
        revision: D, the last revision that was applied.
        least_head: N, the least head of code that works with it.
        irreversible: The newest revision that was applied and that no earlier code works after: it
            is never more than N, and only says why N is what it is. 0 of one without such.
    """

    revision: int
    least_head: int
    irreversible: int = 0

    def as_json(self) -> dict[str, int]:
        """Return it for machines."""
        said = {"revision": self.revision, "leastHead": self.least_head}
        return _with_irreversible(said, self.irreversible)

    def __str__(self) -> str:
        """What it is, for people, to follow "the database is"."""
        works = f"works with code of revision {self.least_head} or later"
        frozen = f"; {_frozen(self.irreversible)}" if self.irreversible else ""
        return f"at revision {self.revision} and {works}{frozen}"


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
    if code.head < database.irreversible:
        return f"{_frozen(database.irreversible)}, and this is of {code.head}"
    if code.head < database.least_head:
        return (
            f"the database works with code of revision {database.least_head} or later, and this is "
            f"of {code.head}: a contract removed what it uses"
        )
    return ""


def misfit_once_migrated(code: CodeSchema | None, database: DatabaseSchema | None) -> str:
    """Say why a release does not fit a database that its own migration is run on first.

    Whether that can do it is for the migration itself to say.

    Args:
        code: What the release says of itself.
        database: What the database says of itself before.
    """
    if code is None or database is None:
        return ""
    return misfit(code, replace(database, revision=max(database.revision, code.head)))


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
        revision=max(it.revision for it in known),
        least_head=max(it.least_head for it in known),
        irreversible=max(it.irreversible for it in known),
    )


def irreversible_of(manifests: Iterable[Mapping[str, Any]]) -> int:
    """Return the newest revision that workloads or migrations call irreversible; 0 of none.

    Args:
        manifests: The workloads, as a program declares them or a cluster has them.
    """
    return max((_number(annotations_of(it).get(IRREVERSIBLE)) or 0 for it in manifests), default=0)


def frozen(database: DatabaseSchema | None, irreversible: int) -> DatabaseSchema | None:
    """Return what a database is, once it is known what cannot be gone back past.

    A revision that was applied counts whether or not its migration raised N: who calls it
    irreversible says that no code before it works.

    Args:
        database: What it says of itself.
        irreversible: The revision that the code calls so; 0 of none.
    """
    if database is None or not irreversible or database.revision < irreversible:
        return database
    return replace(
        database,
        least_head=max(database.least_head, irreversible),
        irreversible=max(database.irreversible, irreversible),
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
    return CodeSchema(
        head=min(it.head for it in known),
        least=max(it.least for it in known),
        irreversible=max(it.irreversible for it in known),
    )


def of_outputs(outputs: Mapping[str, Any]) -> CodeSchema | None:
    """Return what a program's outputs say: `schema`, with `head`, `least`, maybe `irreversible`."""
    said = outputs.get("schema")
    if not isinstance(said, Mapping):
        return None
    head, least = _number(said.get("head")), _number(said.get("least"))
    return _code(head, least, said.get("irreversible"))


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


def words_of(text: object) -> tuple[str, ...] | None:
    """Read a command or its arguments from an annotation; None when it is no JSON list of texts."""
    try:
        found = json.loads(str(text))
    except ValueError:
        return None
    if not isinstance(found, list) or not found or not all(isinstance(it, str) for it in found):
        return None
    return tuple(found)


def annotations_of(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the annotations of a workload's pod template."""
    value: Any = manifest
    for name in ("spec", "template", "metadata", "annotations"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _of_template(manifest: Mapping[str, Any]) -> CodeSchema | None:
    said = annotations_of(manifest)
    head, least = _number(said.get(HEAD)), _number(said.get(LEAST))
    return _code(head, least, said.get(IRREVERSIBLE))


def _code(head: int | None, least: int | None, irreversible: object) -> CodeSchema | None:
    if head is None or least is None:
        return None
    return CodeSchema(head=head, least=least, irreversible=_number(irreversible) or 0)


def _with_irreversible(said: dict[str, int], irreversible: int) -> dict[str, int]:
    """Add it where there is one: who reads the document knows the two numbers of old."""
    return {**said, "irreversible": irreversible} if irreversible else said


def _frozen(revision: int) -> str:
    return f"revision {revision} cannot be gone back past by any code"


def _number(value: object) -> int | None:
    """A revision: a whole number, as text where it is an annotation."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:10])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return None
    return value
