"""Made-up names and addresses: pools of them, the same on every machine with the same Faker.

Faker takes as long for one value as a database for twenty, so a pool is made once and chosen from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faker import Faker

SIZE = 1024
"""How many values a pool is made of; those that come twice are in it once."""
_SEED = 20240229
_MADE: dict[str, Callable[[Faker], str]] = {
    "name": lambda it: it.name(),
    "first_name": lambda it: it.first_name(),
    "last_name": lambda it: it.last_name(),
    "company": lambda it: it.company(),
    "address": lambda it: it.address(),
    "city": lambda it: it.city(),
    "postcode": lambda it: it.postcode(),
    "job": lambda it: it.job(),
    "phone": lambda it: it.phone_number(),
    "sentence": lambda it: it.sentence(),
    "user": lambda it: f"{it.first_name()}.{it.last_name()}",
}
"""How a value of each kind is made."""


@cache
def pool(kind: str, locale: str) -> tuple[str, ...]:
    """Return made-up values, one line each.

    Args:
        kind: Of what kind: one of those above, or `user`, which goes before an @.
        locale: Whose.
    """
    from faker import Faker

    made = Faker("en_US" if kind == "user" else locale, use_weighting=False)
    made.seed_instance(_SEED)
    found = (" ".join(_MADE[kind](made).split()) for _ in range(SIZE))
    if kind == "user":
        found = ("".join(it for it in one.lower() if it.isascii() and (it.isalnum() or it == "."))
                 for one in found)  # fmt: skip
    return tuple(dict.fromkeys(found))
