"""Faults in the middle of things: a deploy or a rollback that runs, and what befalls it.

Stands on `doomed_stand`: a namespace and a state backend of its own, two Deployments under traffic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from lab import outage, settings
from lab.settings import LabSettings
from tests.e2e.doomed_stand import STACK, Doomed, doomed
from tests.e2e.live_cluster import live_cluster
from tests.e2e.releases import push
from tests.e2e.running import Running, begin
from tests.e2e.stand import ROOT
from tests.e2e.traffic import Seen

SECONDS = 900
"""A command that an outage befalls waits for all that waits for it."""
WATCHERS = ("controller-manager", "scheduler", "kubelet", "proxy")
DEPLOY, ROLLBACK = "deploy", "rollback"


@dataclass
class Faulty:
    """A stack with a verified release, and what is done to it.

    Attributes:
        stack: The program and its stack.
        lab: The lab whose daemons fail.
        good: The version that is deployed and verified.
        before: The verified version before it.
        whole: Whether it was left as it should be; nobody has seen so while something runs.
    """

    stack: Doomed
    lab: LabSettings
    good: str = "v0"
    before: str = ""
    whole: bool = True
    _begun: bool = False
    _running: Running | None = None
    _versions: Iterator[int] = field(default_factory=lambda: count(1))

    def version(self) -> str:
        """Choose a version that was not yet deployed, and return it."""
        chosen = f"v{next(self._versions)}"
        self.stack.choose(chosen)
        return chosen

    def deploys(self, version: str) -> None:
        """Deploy a version, which is to succeed."""
        self.whole = False
        self.stack.choose(version)
        self.stack.aegis("deploy", "--yes")
        self.whole = True
        if version != self.good:
            self.before, self.good = self.good, version

    def configure(self, **values: str) -> None:
        """Set settings; an empty one is taken away."""
        self.stack.configure(**values)

    def image(self, tag: str) -> str:
        """Push an image that no node has, and return its reference."""
        base = self.stack.environment["AEGIS_RUNTIME_IMAGE"]
        unique = f"{tag}-{self.stack.namespace}"
        digest = push(self.stack.environment, base, unique, f"LABEL unique={unique}")
        return f"{self.stack.environment['AEGIS_REGISTRY']}/aegis@{digest}"

    def begin(self, what: str, *words: str) -> Running:
        """Begin a deploy or a rollback."""
        self.whole = False
        argv = ["aegis", what, "--yes", "--stack", STACK, *words]
        self._running = begin(argv, self.stack.directory, self.stack.environment, SECONDS)
        return self._running

    def pods(self, version: str, *, ready: bool = False) -> int:
        """How many pods of a version there are, or are ready."""
        label = f"app.kubernetes.io/version={version}"
        cluster = live_cluster(self.stack.environment)
        items = cluster.objects("pods", self.stack.namespace, label)
        # What is still ending is of the time before.
        items = [it for it in items if "deletionTimestamp" not in it["metadata"]]
        if not ready:
            return len(items)
        conditions = [it for pod in items for it in pod["status"].get("conditions", ())]
        return sum(it["type"] == "Ready" and it["status"] == "True" for it in conditions)

    def until(self, running: Running, ready: object, what: str) -> None:
        """Wait until something is so while a command runs."""

        def happened() -> bool:
            assert running.process.poll() is None, f"it ended before {what}\n{running.text}"
            return bool(ready()) if callable(ready) else False

        self.stack.wait_for(happened, what, lambda: running.text)

    def prepare(self, what: str) -> str:
        """Choose what a deploy brings, or deploy something to roll back from."""
        if what == ROLLBACK:
            self.deploys(self.version())
            return self.before
        return self.version()

    def setting_out(self, what: str) -> Running:
        """Begin a deploy or a rollback and return as it makes its first changes."""
        running = self.begin(what)
        says = {DEPLOY: "updating ", ROLLBACK: "restoring release "}[what]
        self.until(running, lambda: says in running.text, says)
        return running

    def mid_flight(self, what: str, version: str) -> Running:
        """Begin a deploy or a rollback and return in its middle."""
        running = self.begin(what)
        self.until(running, lambda: self.pods(version) > 0, f"a pod of {version}")
        return running

    @contextmanager
    def busy(self) -> Iterator[list[Seen]]:
        """Send both services requests while the block runs."""
        with self.stack.busy() as seen:
            yield seen

    def kubectl(self, *words: str) -> None:
        """Change something by hand in the namespace."""
        self.stack.run("kubectl", "--namespace", self.stack.namespace, *words)

    def goes_on(self, version: str, then: str = "") -> None:
        """Require that a version is deployed in order, and that the next deploy works.

        Args:
            version: The version.
            then: What is deployed next; something new unless given.
        """
        self.good = version
        self.is_whole(version)
        self.deploys(then or self.version())

    def is_whole(self, version: str) -> None:
        """Require that a version runs, verified, with nothing left over, and nothing to recover."""
        done = self.stack.aegis("recover")
        assert "is in order" in done.output, done.output
        current = self.stack.current()
        assert (current["version"], current["verified"]) == (version, True), current
        self.stack.wait_for(lambda: not self.stack.left_over(), "whole", self.stack.left_over)
        self.whole = True

    def steady(self) -> None:
        """Have what watches begin without what the outages before taught it.

        client-go waits longer after each failure, up to a minute, and forgets them only after two
        minutes without one: a row of short outages would be one of a control plane that flaps, in
        which Kubernetes itself calls a node dead and takes its pods out of their Services.
        """
        if self._begun:
            outage.restart(self.lab, *WATCHERS)
        self._begun = True

    def mend(self) -> None:
        """Put in order what a test that failed left behind: the next one is about its own fault."""
        if self.whole:
            return
        outage.resume(self.lab)
        if self._running is not None and self._running.process.poll() is None:
            self._running.kill()
        self.configure(image="", build="")
        done = self.stack.aegis("recover", expect=None)
        print(f"the test before left this to be mended:\n{done.output}")  # noqa: T201
        for _ in range(2):  # Both what is good and what was before it are known again.
            self.deploys(self.version())


def require_served(seen: list[Seen], title: str) -> None:
    """Require that no request was lost."""
    total = sum(one.total for one in seen)
    failed = [line for one in seen for line in one.failures]
    print(f"{title}: {total} requests, {len(failed)} failed")  # noqa: T201
    assert not failed, "\n".join(failed[:20])
    assert all(set(one.answers) <= {200} for one in seen)
    assert total > 0


@contextmanager
def faulty(directory: Path) -> Iterator[Faulty]:
    """Deploy a version, verified; take everything down at the end."""
    with doomed(directory, "faults") as stack:
        it = Faulty(stack, settings.load(os.environ, ROOT))
        it.deploys("v0")
        yield it
