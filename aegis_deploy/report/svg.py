"""Drawing in SVG: elements, scales and ticks. Colours and fonts are the page's, by class. Pure.

Elements are built as a tree and written by the standard library, so that no text of anybody's can
end an element or an attribute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from aegis_deploy.common.sanitize import one_line

Number = float
_HOUR, _MINUTE, _MOST_SECONDS = 3600, 60, 180
_LONGEST_LABEL = 80


@dataclass(frozen=True)
class Scale:
    """Maps values to places on the page, linearly.

    Attributes:
        least: The smallest value.
        most: The largest value.
        start: Where the smallest is.
        end: Where the largest is.
    """

    least: Number
    most: Number
    start: Number
    end: Number

    def __call__(self, value: Number) -> Number:
        """Return where a value is; one outside is at the edge."""
        inside = min(max(value, self.least), self.most)
        share = (inside - self.least) / ((self.most - self.least) or 1.0)
        return round(self.start + share * (self.end - self.start), 2)


def drawing(width: Number, height: Number, label: str) -> Element:
    """Begin a drawing that is as wide as its place on the page.

    Args:
        width: Its own width.
        height: Its own height.
        label: What it shows, for those who do not see it.
    """
    return Element(
        "svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "role": "img",
            "aria-label": one_line(label, 400),
            "preserveAspectRatio": "xMinYMin meet",
        },
    )


def add(parent: Element, tag: str, kind: str = "", **attributes: object) -> Element:
    """Add an element.

    Args:
        parent: To what.
        tag: Its tag.
        kind: Its classes.
        attributes: The rest; an underscore stands for a hyphen.
    """
    given = {name.rstrip("_").replace("_", "-"): _said(it) for name, it in attributes.items()}
    return SubElement(parent, tag, {**({"class": kind} if kind else {}), **given})


def text(parent: Element, x: Number, y: Number, words: object, kind: str = "") -> Element:
    """Add a text."""
    found = add(parent, "text", kind, x=x, y=y)
    found.text = one_line(words, _LONGEST_LABEL)
    return found


def hint(parent: Element, words: object) -> None:
    """Add what is shown when the pointer rests on an element."""
    add(parent, "title").text = one_line(words)


def line(parent: Element, a: Sequence[Number], b: Sequence[Number], kind: str) -> Element:
    """Add a straight line."""
    return add(parent, "line", kind, x1=a[0], y1=a[1], x2=b[0], y2=b[1])


def steps(points: Sequence[tuple[Number, Number]], end: Number) -> str:
    """Return a path that stays at each point's height until the next one, and then until an end."""
    if not points:
        return ""
    first, *rest = points
    moved = [f"M{first[0]:g} {first[1]:g}", *(f"H{x:g}V{y:g}" for x, y in rest)]
    return "".join([*moved, f"H{end:g}"])


def band(
    upper: Sequence[tuple[Number, Number]], lower: Sequence[tuple[Number, Number]], end: Number
) -> str:
    """Return the area between two such paths, whose points are at the same places."""
    if not upper:
        return ""
    back: list[str] = []
    until = end
    for x, y in reversed(lower):
        back.append(f"L{until:g} {y:g}H{x:g}")
        until = x
    return steps(upper, end) + "".join(back) + "Z"


def ticks(least: Number, most: Number, about: int, *, least_step: Number = 0.0) -> list[Number]:
    """Return round values between two, about so many, from the first one on.

    Args:
        least: The one.
        most: The other.
        about: How many.
        least_step: How far they are apart at least; 1 for what is counted.
    """
    span = most - least
    if span <= 0:
        return [least]
    rough = span / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(it * power for it in (1, 2, 5, 10) if it * power >= rough * 0.999)
    step = max(step, least_step)
    first = math.ceil(least / step)
    count = math.floor((most - first * step) / step + 1e-9) + 1
    return [round((first + place) * step, 9) for place in range(count)]


def time_ticks(seconds: Number, about: int) -> list[tuple[Number, str]]:
    """Return round times up to one, about so many, with their names."""
    unit, name = (1, "s") if seconds <= _MOST_SECONDS else (_MINUTE, "min")
    if seconds > _MINUTE * _MOST_SECONDS:
        unit, name = _HOUR, "h"
    return [(it * unit, f"{it:g} {name}") for it in ticks(0, seconds / unit, about)]


def written(root: Element) -> str:
    """Write a drawing down."""
    return tostring(root, encoding="unicode", short_empty_elements=False)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
