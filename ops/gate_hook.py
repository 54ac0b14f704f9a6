"""The gate inside the update itself, so that plain ``pulumi up`` gets the same verdict.

A program binds two hooks. The first one follows every change of the Deployment: it waits for the
rollout, which the provider therefore need not, and runs the gate; its error fails the update
before anything of the release before is deleted. The second one precedes the change of a marker in
the state, which names the last release whose gate has passed. Since a failed release never gets
its marker, typing ``pulumi up`` again runs the gate again instead of finding nothing to do.

When a deployer runs the gate itself (``AEGIS_GATE=deployer``), the hooks wait for the rollout only.

The program imports this module at every preview that has a gate: everything heavy is imported when
a hook is called, which no preview does.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi

from ops.gate_settings import GateSettings

if TYPE_CHECKING:
    from ops.verdict import Verdict

GATE_VARIABLE = "AEGIS_GATE"
DEPLOYER = "deployer"
"""The variable's value by which a deployer says that it judges the release itself."""


class GateError(Exception):
    """The release failed its gate, which fails the update; the message is for people."""


@dataclass(kw_only=True)
class GateHook:
    """The hooks of one Deployment.

    Attributes:
        stack: The stack, for the command that goes back.
        namespace: The Deployment's namespace.
        name: Its name.
        service: The name of its Service.
        settings: What is asked of a release.
        expected: What the service must say of itself; None means its label's version.
        context: The kubeconfig's context.
        kubeconfig: A kubeconfig or its path.
    """

    stack: str
    namespace: str
    name: str
    service: str
    settings: GateSettings
    expected: Mapping[str, str] | None = None
    context: str | None = None
    kubeconfig: str | None = field(default=None, repr=False)
    _passed: bool = field(default=False, init=False)

    def bound(self) -> tuple[pulumi.ResourceHookBinding, pulumi.ResourceHookBinding]:
        """Return what to bind to the Deployment and what to the marker that follows it.

        Nothing in a preview: hooks are not called there, and making them takes its time.
        """
        if pulumi.runtime.is_dry_run():
            return pulumi.ResourceHookBinding(), pulumi.ResourceHookBinding()
        after = pulumi.ResourceHook(f"{self.name}-gate", self.judge)
        before = pulumi.ResourceHook(f"{self.name}-gate-passed", self.judge_once)
        return (
            pulumi.ResourceHookBinding(after_create=[after], after_update=[after]),
            pulumi.ResourceHookBinding(before_create=[before], before_update=[before]),
        )

    async def judge_once(self, _: pulumi.ResourceHookArgs) -> None:
        """Run the gate unless it has passed in this update.

        Raises:
            GateError: It did not pass.
        """
        if not self._passed:
            await self._judge()

    async def judge(self, _: pulumi.ResourceHookArgs) -> None:
        """Run the gate.

        Raises:
            GateError: It did not pass.
        """
        await self._judge()

    async def _judge(self) -> None:
        by_deployer = os.environ.get(GATE_VARIABLE) == DEPLOYER
        if not by_deployer:
            seconds = self.settings.bake_seconds
            pulumi.log.info(f"gate: waiting for the rollout, then probing for {seconds:g} s")
        stop = threading.Event()
        try:
            # In a thread: the program goes on to register the Service that is probed.
            verdict = await asyncio.to_thread(self._run, rollout_only=by_deployer, stop=stop)
        finally:
            stop.set()
        if not verdict.passed:
            raise GateError(self.message(verdict))
        self._passed = True
        if not by_deployer:
            pulumi.log.info("\n".join(verdict.lines()))

    def _run(self, *, rollout_only: bool, stop: threading.Event) -> Verdict:
        from ops.cluster import connect
        from ops.gate import judge
        from ops.workload import Workload

        workload = Workload(namespace=self.namespace, name=self.name, service=self.service)
        return judge(
            connect(self.context, self.kubeconfig),
            [workload],
            self.settings,
            expected=self.expected,
            rollout_only=rollout_only,
            stop=stop,
        )

    def message(self, verdict: Verdict) -> str:
        """Word a verdict that failed as the error of the update."""
        from ops.errors import AegisError

        probes = [] if verdict.figures is None else [f"probes: {verdict.figures}"]
        why = "\n".join([verdict.reason, *verdict.evidence, *probes])
        error = AegisError(
            what=f"{self.stack} failed its gate",
            why=why,
            state=f"{verdict.serving}; nothing of the release before was deleted",
            next=f"aegis rollback --stack {self.stack}",
        )
        return str(error)
