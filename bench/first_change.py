"""How long until a deploy begins to change something: `aegis deploy` beside `pulumi up`.

All deploy the same change of a setting of staging, image by digest, in turn on the same cluster in
the same run, from the command's start until the cluster has the first object of the new release.
`pulumi up --yes` is what a person without `aegis` types: it previews, and asks nobody else.
`aegis deploy --yes` previews, claims the stack, holds the release against what was rolled back,
the registry, the database and the routes, and watches before it begins. `pulumi up --skip-preview`
changes without a look: half of what the other two do, by the same CLI.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.first_change [pairs]
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.record import Took, run, save, say, shown, spread, table
from bench.staging import NAMESPACE, STACK, Staging, staging

PAIRS = 8
_LOOK_SECONDS = 0.01
LEVELS = ("error", "warning", "info")
COMMANDS = {
    "aegis deploy": ("aegis", "deploy", "--yes", *STACK),
    "pulumi up": ("pulumi", "up", "--yes", *STACK),
    "pulumi up --skip-preview": ("pulumi", "up", "--yes", "--skip-preview", *STACK),
}


class FirstChange:
    """Sees when a namespace gets a ConfigMap or a Secret that it did not have.

    Attributes:
        at: When it did, by the monotonic clock; None before.
    """

    def __init__(self, stack: Staging) -> None:
        self._stack = stack
        self._before = self._names()
        self._ended = threading.Event()
        self.at: float | None = None

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the block runs."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _look(self) -> None:
        while self.at is None and not self._ended.wait(_LOOK_SECONDS):
            if self._names() - self._before:
                self.at = time.monotonic()

    def _names(self) -> set[tuple[str, str]]:
        cluster = self._stack.at.cluster
        return {
            (kind, it["metadata"]["name"])
            for kind in ("configmap", "secret")
            for it in cluster.objects(kind, NAMESPACE)
        }


def measure(stack: Staging, pairs: int) -> dict[str, list[tuple[float, Took]]]:
    """Deploy in turn; return the seconds until the first change, and what each command took."""
    at = stack.at
    took: dict[str, list[tuple[float, Took]]] = {name: [] for name in COMMANDS}
    for pair in range(pairs):
        # Who is first changes as well: what the one leaves in memory the other finds there.
        for turn, name in enumerate(sorted(COMMANDS, reverse=bool(pair % 2))):
            stack.change({"logLevel": LEVELS[turn]})
            seen = FirstChange(stack)
            with seen.looking():
                began = time.monotonic()
                done = run(*COMMANDS[name], cwd=at.directory, environment=at.environment)
            assert seen.at is not None, f"{name} changed nothing: {done.output}{done.messages}"
            took[name].append((seen.at - began, done))
        say(", ".join(f"{name} {its[-1][0]:.2f} s" for name, its in took.items()))
    return took


def main() -> None:
    """Measure, print, and write the figures down."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with staging() as stack:
        took = measure(stack, pairs)
    firsts = {name: [first for first, _ in its] for name, its in took.items()}
    (_, ours), *others = firsts.items()
    ratios = {
        name: [one / other for one, other in zip(ours, theirs, strict=True)]
        for name, theirs in others
    }
    rows = [
        (
            f"`{name}`",
            shown(firsts[name]),
            shown([it.wall for _, it in its]),
            shown([it.cpu for _, it in its]),
        )
        for name, its in took.items()
    ]
    say(table(("by", "to the first change, s", "to its end, s", "processor, s"), rows))
    for name, its in ratios.items():
        say(f"the first change of aegis, of that of {name}, pair by pair: {shown(its)}")
    save(
        Path(__file__).stem,
        "from a command's start until the cluster has the first object of the new release, and "
        "until its end, `aegis deploy --yes` beside `pulumi up --yes`, in turn; bake time 2 s",
        {
            "pairs": pairs,
            "first": {name: spread(its) for name, its in firsts.items()},
            "wall": {name: spread([it.wall for _, it in its]) for name, its in took.items()},
            "cpu": {name: spread([it.cpu for _, it in its]) for name, its in took.items()},
            "ratio": {name: spread(its) for name, its in ratios.items()},
        },
    )


if __name__ == "__main__":
    main()
