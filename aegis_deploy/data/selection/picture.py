"""The tables of a sample as a Mermaid flowchart: what refers to what, and how much is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aegis_deploy.data.catalog import Catalog, Reference
from aegis_deploy.data.selection.closure import Taken


def mermaid(catalog: Catalog, taken: Sequence[Taken], follow: Iterable[Reference]) -> str:
    """Return it.

    An arrow leads from who refers to what is referred to, thick where rows are chosen along it,
    dotted where no constraint says so. What is further from its target than is tolerated is marked.

    Args:
        catalog: The tables.
        taken: What is taken of each, in the order of loading.
        follow: By which references rows come with those that they refer to.
    """
    ids = {it.table: f"t{place}" for place, it in enumerate(taken)}
    along = {it.lead for it in taken if it.lead is not None} | set(follow)
    lines = ["flowchart LR"]
    for it in taken:
        label = f"{_plain(str(it.table))}<br/>{it.total:,} of {it.rows:,} rows"
        lines.append(f'  {ids[it.table]}["{label}"]{":::off" if it.off else ""}')
    for reference in catalog.references:
        arrow = "==>" if reference in along else "-.->" if reference.declared else "-->"
        label = _plain(", ".join(reference.columns))
        lines.append(f'  {ids[reference.table]} {arrow}|"{label}"| {ids[reference.to]}')
    return "\n".join([*lines, "  classDef off stroke:#b35900,stroke-width:3px", ""])


def _plain(text: str) -> str:
    """Return a name as a label holds it (https://mermaid.js.org/syntax/flowchart.html)."""
    return "".join(it if it.isalnum() or it in " _.,-" else f"#{ord(it)};" for it in text)
