"""What a stack's history does not say: which releases passed their gate, which were rolled back.

Kept in the stack's own tags, so that every machine and every backend has it: a service keeps tags
of up to 256 characters under names of up to 40, and every other backend has a file of them beside
the state. Marks name a release by its key, which outlives a pruned history.

A gate inside a plain ``pulumi up`` cannot know the key of the release it judges: the history names
an update only once it has ended. It leaves the moment instead, which `history` finds again in the
update that was running then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aegis_deploy.model.release import Release

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

VERIFIED = "aegis:verified"
REFUSED = "aegis:refused"
LONGEST = 256
"""The longest value a service takes for a tag."""
MOST_CHUNKS = 40
MOST_REFUSED = 50
_DECLARED, _MOST_DECLARED = "declared:", 7
"""Before what a refused release declared, in its mark; and so many more are remembered with it."""
_MOMENT = "@"
"""Before the moment of a mark that names no release."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Refusal:
    """Why a release may not be deployed again.

    Attributes:
        fingerprint: What it deployed, `fingerprint` of it.
        key: The release.
        why: The reason it was rolled back.
        when: When it was.
        declared: What it declared, as `model.declared` has it, of each that was rolled back with
            these images and settings; nothing where one of them is not known.
    """

    fingerprint: str
    key: str
    why: str
    when: datetime
    declared: frozenset[str] = frozenset()

    def meets(self, declared: str) -> bool:
        """Whether it holds for what is declared so; what is not known on either side counts as met.

        Args:
            declared: What is declared; empty when nobody can tell yet.
        """
        return not declared or not self.declared or declared in self.declared

    def __str__(self) -> str:
        """Say why and when."""
        return f"{self.why} ({self.when:%Y-%m-%d %H:%M} UTC)"


@dataclass(frozen=True)
class Verifications:
    """Everything the ledger says about a stack.

    Attributes:
        verified: The keys of the releases whose gate passed, oldest mark first.
        refusals: What may not be deployed again, by fingerprint.
        passed: When gates passed inside an update that ran without a deployer, oldest first.
    """

    verified: tuple[str, ...]
    refusals: Mapping[str, Refusal]
    passed: tuple[datetime, ...] = ()

    @property
    def refused(self) -> frozenset[str]:
        """The keys of the releases that may not be deployed again."""
        return frozenset(refusal.key for refusal in self.refusals.values())


def read(session: Session) -> Verifications:
    """Read the ledger of a stack."""
    return parse(session.tags())


def parse(tags: Mapping[str, str]) -> Verifications:
    """Read the ledger from a stack's tags; what is damaged is passed by."""
    verified: list[str] = []
    passed: list[datetime] = []
    for name in sorted(_chunks(tags), key=_place):
        for word in tags[name].split(","):
            key = _expand(word.removeprefix(_MOMENT))
            if key is None:
                continue
            if not word.startswith(_MOMENT):
                verified.append(key)
            elif (moment := _moment(key)) is not None:
                passed.append(moment)
    refusals = (_refusal(name, value) for name, value in tags.items())
    return Verifications(
        tuple(dict.fromkeys(verified)),
        {refusal.fingerprint: refusal for refusal in refusals if refusal is not None},
        tuple(passed),
    )


def mark_verified(session: Session, release: Release) -> None:
    """Remember that a release passed its gate."""
    tags = session.tags()
    if release.key not in parse(tags).verified:
        session.change_tags(verified_after(tags, release.key))


def mark_passed(session: Session, moment: datetime) -> None:
    """Remember that a gate passed at a moment, inside the update that runs just now."""
    session.change_tags(passed_after(session.tags(), moment))


def verified_after(tags: Mapping[str, str], key: str) -> dict[str, str | None]:
    """The tags to set, or to remove (None), to mark one more release as verified."""
    return _with_mark(tags, _shrink(key))


def passed_after(tags: Mapping[str, str], moment: datetime) -> dict[str, str | None]:
    """The tags to set, or to remove (None), to mark the moment at which a gate passed."""
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return _with_mark(tags, _MOMENT + _shrink(str(microseconds)))


def _with_mark(tags: Mapping[str, str], word: str) -> dict[str, str | None]:
    names = sorted(_chunks(tags), key=_place)
    if not names:
        return {f"{VERIFIED}.0": word}
    last = names[-1]
    longer = f"{tags[last]},{word}"
    if len(longer) <= LONGEST:
        return {last: longer}
    change: dict[str, str | None] = {f"{VERIFIED}.{_place(last) + 1}": word}
    # Beyond some hundreds the oldest marks are let go; nobody rolls back that far.
    surplus = len(names) + 1 - MOST_CHUNKS
    change.update(dict.fromkeys(names[: max(0, surplus)]))
    return change


def refuse(
    session: Session, release: Release, fingerprint: str, why: str, declared: str = ""
) -> None:
    """Remember that what a release deployed may not be deployed again unless insisted on.

    Args:
        session: The stack.
        release: The release that was rolled back.
        fingerprint: What it deployed.
        why: Why it was rolled back, in a line.
        declared: What it declared, as `model.declared` has it; empty when that is not known.
    """
    ledger = read(session)
    before = ledger.refusals.get(fingerprint)
    old = sorted(ledger.refusals.values(), key=lambda refusal: refusal.when)
    change: dict[str, str | None] = {
        f"{REFUSED}.{refusal.fingerprint}": None
        for refusal in old[: max(0, len(old) + 1 - MOST_REFUSED)]
    }
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = " ".join(why.split())
    if declared and (before is None or before.declared):
        known = () if before is None else sorted(before.declared - {declared})[:_MOST_DECLARED]
        line = f"{_DECLARED}{','.join((declared, *known))} {line}"
    value = f"{_shrink(release.key)} {stamp} {line}"
    change[f"{REFUSED}.{fingerprint}"] = _cut(value)
    session.change_tags(change)


def pardon(
    session: Session, fingerprint: str | None, key: str | None = None, declared: str = ""
) -> None:
    """Forget a refusal, once somebody insisted and the release passed its gate after all.

    Args:
        session: The stack.
        fingerprint: What was deployed; None when it is not known.
        key: The release that runs again, whatever it was refused for; None for none.
        declared: What was declared, as `model.declared` has it; empty when that is not known.
    """
    forgotten = [
        f"{REFUSED}.{refusal.fingerprint}"
        for refusal in read(session).refusals.values()
        if (refusal.fingerprint == fingerprint and refusal.meets(declared)) or refusal.key == key
    ]
    if forgotten:
        session.change_tags(dict.fromkeys(forgotten))


def why_refused(session: Session, fingerprint: str, declared: str = "") -> str | None:
    """Why this may not be deployed again; None when it may.

    Args:
        session: The stack.
        fingerprint: What is to be deployed.
        declared: What it declares, as `model.declared` has it; empty when that is not known.
    """
    refusal = read(session).refusals.get(fingerprint)
    return None if refusal is None or not refusal.meets(declared) else str(refusal)


def _chunks(tags: Mapping[str, str]) -> Iterable[str]:
    return [name for name in tags if re.fullmatch(re.escape(VERIFIED) + r"\.\d+", name)]


def _place(name: str) -> int:
    return int(name.rpartition(".")[2])


def _refusal(name: str, value: str) -> Refusal | None:
    mark, _, print_ = name.rpartition(".")
    key, stamp, why = (*value.split(" ", 2), "", "")[:3]
    expanded = _expand(key)
    if mark != REFUSED or expanded is None:
        return None
    try:
        when = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    told, _, rest = why.partition(" ")
    if not told.startswith(_DECLARED):
        return Refusal(print_, expanded, why, when)
    known = frozenset(told.removeprefix(_DECLARED).split(","))
    return Refusal(print_, expanded, rest, when, known)


def _shrink(key: str) -> str:
    """A key in base 36: the 19 digits of a file's nanoseconds become 12."""
    number, digits = int(key), ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits or "0"


def _moment(microseconds: str) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=int(microseconds))
    except OverflowError:
        return None


def _expand(word: str) -> str | None:
    return str(int(word, 36)) if re.fullmatch(r"[0-9a-z]+", word) else None


def _cut(text: str) -> str:
    """At most what a service takes, counted in bytes, without half a character."""
    return text.encode()[:LONGEST].decode(errors="ignore")
