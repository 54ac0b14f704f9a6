"""What a column's name speaks of."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BY_NAME: Sequence[tuple[str, str]] = (
    (r"e?mail", "email"),
    (r"phone|mobile|fax|(^|_)tel($|_)|cell", "phone"),
    (r"first_?name|given_?name|forename", "first_name"),
    (r"last_?name|family_?name|surname", "last_name"),
    (r"company|employer|organi[sz]ation|firm", "company"),
    (r"(^|_)(city|town)($|_)", "city"),
    (r"postal|post_?code|(^|_)zip($|_)", "postcode"),
    (r"address|street|(^|_)line_?\d?($|_)", "address"),
    (r"(^|_)(full_?)?name($|_)|(^|_)(author|owner|contact)($|_)", "name"),
    (r"password|passwd|secret|token|digest|hash|fingerprint|api_?key", "hash"),
    (r"(^|_)job|occupation|profession", "job"),
)


def meant(name: str) -> str | None:
    """Return the kind of text that a column's name speaks of; None: it says nothing.

    Args:
        name: The name.
    """
    return next((kind for form, kind in _BY_NAME if re.search(form, name.lower())), None)
