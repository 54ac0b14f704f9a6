"""Every healthy way to change what runs, under a steady load: how many requests fail.

    python -m lab exec -- python -m bench.zero_downtime --requests 200000 --rate 600
    python -m lab exec -- python -m bench.zero_downtime --through gateway

Staging is deployed on the lab; then the scenarios follow each other, round after round, until as
many requests were sent as asked for. Each request of each scenario counts, those of the slow kind
and on kept connections too. A request fails when it is not answered, or not with status 200. They
are sent to the Service, or through the lab's ingress controller with TLS.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count, cycle

from bench.crash import RESULTS
from bench.staging import BAD, GOOD, STACK, TOKEN, Staging, staging
from lab.command import wait_until
from lab.toolchain import VEGETA_VERSION
from tests.e2e import entrances
from tests.e2e.releases import REFUSED_LOG_LEVEL, push_release
from tests.e2e.traffic import MOST_PER_SECOND, Answer, Entrance, percentile, traffic

SERVICE = "service"
_MINUTES = 60.0
_PODS = ("--selector", "app.kubernetes.io/name=aegis-api")
_EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction"}
_EVICTED_SECONDS = 120
GATE = {"p99Ms": 20_000}
"""Whether requests fail is the question; so many make a small machine slow."""


@dataclass
class Row:
    """What was seen in one scenario, over all its rounds.

    Attributes:
        scenario: Its name.
        rounds: How often it was played.
        seconds: How long, in all.
        requests: What became of each request.
    """

    scenario: str
    rounds: int = 0
    seconds: float = 0.0
    requests: list[Answer] = field(default_factory=list)

    def failed(self) -> Counter[str]:
        """Count what failed, by status or error."""
        bad = (it for it in self.requests if it.status != 200)  # noqa: PLR2004 - HTTP's
        return Counter(str(it.status or it.error) for it in bad)

    def short(self) -> list[Answer]:
        """Return the requests that are meant to be answered at once."""
        return [it for it in self.requests if it.stream != "slow"]

    def as_json(self) -> dict[str, object]:
        """Return the row for machines."""
        return {
            "scenario": self.scenario,
            "rounds": self.rounds,
            "seconds": round(self.seconds, 1),
            "requests": len(self.requests),
            "byClient": dict(sorted(Counter(it.stream for it in self.requests).items())),
            "failed": self.failed().total(),
            "failures": dict(self.failed()),
            "p50Ms": round(percentile(self.short(), 0.5), 1),
            "p99Ms": round(percentile(self.short(), 0.99), 1),
        }


class Scenarios:
    """The healthy changes, each of which leaves a verified release behind."""

    def __init__(self, stack: Staging) -> None:
        self.stack = stack
        built = str(stack.at.outputs("staging")["imageDigest"])
        other = push_release(stack.at.environment, built, "1.1.0")
        self._bad = {
            fault: push_release(stack.at.environment, built, BAD, fault)
            for fault in ("crash", "unready", "memory")
        }
        self._images = cycle([(other, "1.1.0"), (stack.good, GOOD)])
        self._levels = cycle(["error", "warning"])
        self._secrets = (f"{TOKEN}-{number}" for number in count(1))

    def all(self) -> dict[str, Callable[[], None]]:
        """Return them by name, in the order they are played."""
        return {
            "new image": self.image,
            "scale up": lambda: self._deploy(scale="1"),
            "scale down": lambda: self._deploy(scale="0.5"),
            "a setting": lambda: self._deploy(logLevel=next(self._levels)),
            "a secret": self.secret,
            "rollback by hand": self.back,
            "pods evicted": self.evict,
            **{
                f"automated rollback: {name}": partial(self.bad, settings)
                for name, settings in self._failing().items()
            },
        }

    def image(self) -> None:
        """Deploy another image."""
        digest, version = next(self._images)
        self._deploy(imageDigest=digest, version=version)

    def secret(self) -> None:
        """Rotate the secret."""
        at = self.stack.at
        key = f"{at.project}:apiToken"
        at.pulumi("config", "set", "--secret", key, next(self._secrets), *STACK)
        self._deploy()

    def back(self) -> None:
        """Go back to the release before."""
        self.stack.report("rollback", "--yes")
        self.stack.aegis("config", "restore")

    def evict(self) -> None:
        """Have each pod go, as a drain of its node does, until it is gone and another is there."""
        at = self.stack.at
        where = ("--namespace", at.namespace("staging"))
        shown = at.kubectl(*where, "get", "pods", *_PODS, "--output=name").standard_output
        pods = shown.split()
        for name in (row.partition("/")[2] for row in pods):
            body = at.directory / "eviction.json"
            body.write_text(json.dumps({**_EVICTION, "metadata": {"name": name}}))
            path = f"/api/v1/namespaces/{where[1]}/pods/{name}/eviction"

            def gone(path: str = path, body: str = str(body)) -> bool:
                done = at.kubectl("create", "--raw", path, "--filename", body, expect=None)
                budget = "disruption budget" in done.output
                assert done.code == 0 or budget, done.output
                return done.code == 0

            wait_until(gone, what=f"{name} to be evicted", timeout=_EVICTED_SECONDS, interval=0.5)
        timeout = f"--timeout={_EVICTED_SECONDS}s"
        at.kubectl(*where, "wait", "--for=delete", *pods, timeout)
        at.kubectl(*where, "rollout", "status", "deployment/aegis-api", timeout)

    def bad(self, settings: Mapping[str, object]) -> None:
        """Deploy a release that never serves, and be rolled back.

        Args:
            settings: What it changes.
        """
        path = self.stack.at.directory / "Pulumi.staging.yaml"
        kept = path.read_bytes()
        self.stack.change(settings)
        self.stack.report("deploy", "--yes", "--force", expect=4)
        path.write_bytes(kept)

    def _failing(self) -> dict[str, dict[str, object]]:
        """Return the settings of the releases that never serve, by what is wrong with them."""

        def image(digest: str) -> dict[str, object]:
            return {"imageDigest": digest, "version": BAD}

        return {
            "crash": image(self._bad["crash"]),
            "never ready": image(self._bad["unready"]),
            "missing image": image(f"sha256:{'0' * 64}"),
            "out of memory": image(self._bad["memory"]),
            "bad setting": {"logLevel": REFUSED_LOG_LEVEL},
        }

    def _deploy(self, **settings: object) -> None:
        self.stack.change(settings)
        self.stack.report("deploy", "--yes", "--force")


def way_in(stack: Staging, through: str) -> str | Entrance:
    """Return where to send requests, and have the stack be reached there.

    Args:
        stack: The stack.
        through: `SERVICE`, or one of `entrances.Kind`.
    """
    at = stack.at
    if through == SERVICE:
        return at.address(at.namespace("staging"))
    entrances.put_certificate(at, at.namespace("staging"))
    stack.change(entrances.settings(at, entrances.Kind(through)))
    stack.aegis("deploy", "--yes")
    return entrances.entrance(at)


def play(
    stack: Staging, asked: str | Entrance, least: int, rate: int, seconds: float
) -> Iterator[tuple[Row, Row]]:
    """Play the scenarios in turn until enough requests were sent or the time is over.

    Args:
        stack: The stack.
        asked: Where requests are sent.
        least: How many requests to send at least.
        rate: Short requests a second, in all.
        seconds: When to stop at the latest.

    Yields:
        The row of the scenario that was just played, as a whole and for this round alone.
    """
    scenarios = Scenarios(stack).all()
    rows = {name: Row(name) for name in scenarios}
    end = time.monotonic() + seconds
    for name in cycle(scenarios):
        began = time.monotonic()
        with traffic(asked, watched="version", slow=True, per_second=rate) as seen:
            scenarios[name]()
        took = time.monotonic() - began
        rows[name].rounds += 1
        rows[name].seconds += took
        rows[name].requests += seen.requests
        yield rows[name], Row(name, 1, took, list(seen.requests))
        played = all(row.rounds for row in rows.values())
        enough = sum(len(row.requests) for row in rows.values()) >= least
        if time.monotonic() > end or (played and enough):
            return


def table(rows: list[Row]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| scenario | rounds | requests | failed | p50, ms | p99, ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in [*rows, _all(rows)]:
        shown = row.as_json()
        cells = (shown[key] for key in ("rounds", "requests", "failed", "p50Ms", "p99Ms"))
        lines.append(f"| {row.scenario} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _all(rows: list[Row]) -> Row:
    requests = [it for row in rows for it in row.requests]
    return Row("all", sum(r.rounds for r in rows), sum(r.seconds for r in rows), requests)


def main() -> int:
    """Measure, print the table, write the figures down; 1 when a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=600, help="short requests a second, in all")
    parser.add_argument("--seconds", type=float, default=20 * _MINUTES, help="stop after so long")
    kinds = [SERVICE, *(it.value for it in entrances.Kind)]
    parser.add_argument("--through", choices=kinds, default=SERVICE, help="where they are sent")
    asked = parser.parse_args()
    if asked.through != SERVICE and not entrances.is_there():
        parser.error(f"--through {asked.through}: {entrances.MISSING}")
    if not 1 <= asked.rate <= MOST_PER_SECOND:
        parser.error(f"--rate: 1 to {MOST_PER_SECOND}")
    rows: dict[str, Row] = {}
    with staging() as stack:
        stack.change({}, GATE)
        where = way_in(stack, asked.through)
        for row, now in play(stack, where, asked.requests, asked.rate, asked.seconds):
            rows[row.scenario] = row
            print(json.dumps(now.as_json()), flush=True)
    found = list(rows.values())
    print(table(found))
    when = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"zero-downtime-{when:%Y-%m-%dT%H%M%SZ}.json").write_text(
        json.dumps(
            {
                "measured": f"{when:%Y-%m-%d %H:%M} UTC",
                "vegeta": VEGETA_VERSION,
                "processors": os.cpu_count(),
                "rate": asked.rate,
                "through": asked.through,
                "scenarios": [row.as_json() for row in found],
                "all": _all(found).as_json(),
            },
            indent=1,
        )
        + "\n"
    )
    return 1 if _all(found).failed() else 0


if __name__ == "__main__":
    sys.exit(main())
