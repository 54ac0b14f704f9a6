"""The gate inside the update itself, so that plain ``pulumi up`` gets the same verdict.

A program binds two hooks. The first one follows every change of the workload: it waits for the
rollout, which the provider therefore need not, and runs the gate; its error fails the update
before anything of the release before is deleted. The second one precedes the change of a marker in
the state, which names the last release whose gate has passed. Since a failed release never gets
its marker, typing ``pulumi up`` again runs the gate again instead of finding nothing to do.

A gate that passed is written into the stack's ledger, so that the release counts as verified also
where nobody but ``pulumi`` was there. Before a Deployment is changed to what was rolled back
before, the update says so; a preview does, where it knows the image.

When a deployer runs the gate itself (``AEGIS_GATE=deployer``), the hooks wait for the rollout only,
the mark is the deployer's to make, and what was rolled back is refused unless it insists
(``AEGIS_FORCE=true``): here, because only now an image that had to be built first is known.

The program imports this module at every preview that has a gate: everything heavy is imported when
a hook is called, which no preview does.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi

from aegis_deploy.model.gate_settings import SERVICE, GateSettings
from aegis_deploy.model.verdict import AGAIN, CANARY
from aegis_deploy.model.workloads.pod_images import images_of
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT
from aegis_deploy.program.verification import ProgramVerification

if TYPE_CHECKING:
    from aegis_deploy.model.gate_settings import Share
    from aegis_deploy.model.routes.external_routes import Route
    from aegis_deploy.model.verdict import Verdict
    from aegis_deploy.model.workloads.rollout import Workload

GATE_VARIABLE = "AEGIS_GATE"
DEPLOYER = "deployer"
"""The variable's value by which a deployer says that it judges the release itself."""
FORCE_VARIABLE = "AEGIS_FORCE"
"""Set to ``true`` by a deployer that deploys also what was rolled back."""


class GateError(Exception):
    """The release failed its gate, which fails the update; the message is for people."""


@dataclass(kw_only=True)
class GateHook:
    """The hooks of one workload.

    Attributes:
        stack: The stack, for the command that goes back.
        namespace: The workload's namespace.
        name: Its name.
        service: The name of its Service.
        kind: Its kind: Deployment, StatefulSet or DaemonSet.
        settings: What is asked of a release.
        expected: What the service must say of itself; None means its label's version.
        context: The kubeconfig's context.
        kubeconfig: A kubeconfig or its path.
        external: What leads to it from outside.
        share: The share of requests that it has, of a release that goes on to the rest only once
            it has passed here; None for the release as a whole. That is judged here, whoever judges
            the whole.
    """

    stack: str
    namespace: str
    name: str
    service: str
    settings: GateSettings
    expected: Mapping[str, str] | None = None
    context: str | None = None
    kubeconfig: str | None = field(default=None, repr=False)
    kind: str = DEPLOYMENT
    external: Sequence[Route] = ()
    share: Share | None = None
    _passed: bool = field(default=False, init=False)
    _deployed: Sequence[str] = field(default=(), init=False)

    def bound(self) -> tuple[pulumi.ResourceHookBinding, pulumi.ResourceHookBinding]:
        """Return what to bind to the Deployment and what to the marker that follows it.

        Nothing in a preview: hooks are not called there, and making them takes its time.
        """
        if pulumi.runtime.is_dry_run():
            return pulumi.ResourceHookBinding(), pulumi.ResourceHookBinding()
        refused = pulumi.ResourceHook(f"{self.name}-gate-refused", self.look_back)
        after = pulumi.ResourceHook(f"{self.name}-gate", self.judge)
        before = pulumi.ResourceHook(f"{self.name}-gate-passed", self.judge_once)
        return (
            pulumi.ResourceHookBinding(
                before_create=[refused],
                before_update=[refused],
                after_create=[after],
                after_update=[after],
            ),
            pulumi.ResourceHookBinding(before_create=[before], before_update=[before]),
        )

    def preview(self, image: pulumi.Input[str]) -> None:
        """Warn in a preview of what was rolled back before, where its image is known already.

        Args:
            image: The image that the Deployment's pods run.
        """
        if not pulumi.runtime.is_dry_run() or self._by_deployer:
            return
        self._own.begin()
        # The engine waits for it; the annotation is for the type checker alone.
        _: pulumi.Output[bool] = pulumi.Output.from_input(image).apply(self._warn_of)

    async def look_back(self, args: pulumi.ResourceHookArgs) -> None:
        """Say that what is about to be rolled out was rolled back before; refuse it to a deployer.

        Raises:
            GateError: It was, and the deployer does not insist.
        """
        images = images_of(args.new_inputs)
        if not self._by_deployer:
            await self._warn(images)
            return
        why = await self._refusal(images)
        if why is not None and os.environ.get(FORCE_VARIABLE) != "true":
            raise GateError(f"this release {AGAIN}: {why}")

    async def judge_once(self, _: pulumi.ResourceHookArgs) -> None:
        """Run the gate unless it has passed in this update.

        Raises:
            GateError: It did not pass.
        """
        if not self._passed:
            await self._judge()

    async def judge(self, args: pulumi.ResourceHookArgs) -> None:
        """Run the gate.

        Raises:
            GateError: It did not pass.
        """
        self._deployed = images_of(args.new_inputs)
        await self._judge()

    @property
    def _by_deployer(self) -> bool:
        return os.environ.get(GATE_VARIABLE) == DEPLOYER

    @cached_property
    def _own(self) -> ProgramVerification:
        return ProgramVerification(
            organization=pulumi.get_organization(),
            project=pulumi.get_project(),
            stack=pulumi.get_stack(),
            directory=Path.cwd(),
        )

    async def _refusal(self, images: Sequence[str]) -> str | None:
        try:
            return await asyncio.to_thread(self._own.refusal, images)
        except Exception as error:
            pulumi.log.debug(f"nobody can say whether this was rolled back before: {error}")
            return None

    async def _warn_of(self, image: str) -> bool:
        return await self._warn([image])

    async def _warn(self, images: Sequence[str]) -> bool:
        why = await self._refusal(images)
        if why is not None:
            pulumi.log.warn(
                f"this release {AGAIN}: {why}\n"
                f"`aegis config restore --stack {self.stack}` brings the settings in line with "
                "what runs"
            )
        return why is not None

    async def _write_down(self) -> None:
        try:
            await asyncio.to_thread(self._own.passed, self._deployed)
        except Exception as error:
            pulumi.log.warn(
                "the gate passed, but that could not be written down, so that the release does "
                f"not count as verified: {error}\n"
                f"`aegis deploy --stack {self.stack}` judges it anew"
            )

    async def _judge(self) -> None:
        whole = self.share is None
        rollout_only = whole and self._by_deployer
        if not rollout_only:
            seconds = self.settings.bake_seconds
            what = "the rollout" if whole else f"the pods that get {self.share} of requests"
            pulumi.log.info(f"gate: waiting for {what}, then probing for {seconds:g} s")
        stop = threading.Event()
        try:
            # In a thread: the program goes on to register the Service that is probed.
            run = partial(self._run, rollout_only=rollout_only) if whole else self._run_share
            verdict = await asyncio.to_thread(run, stop=stop)
        finally:
            stop.set()
        if not verdict.passed:
            raise GateError(self.message(verdict))
        self._passed = True
        if not whole:
            pulumi.log.info("\n".join([f"{CANARY}{self.share} of requests", *verdict.lines()]))
        elif not rollout_only:
            pulumi.log.info("\n".join(verdict.lines()))
            await self._write_down()

    @property
    def _workload(self) -> Workload:
        from aegis_deploy.model.workloads.rollout import Workload

        return Workload(
            namespace=self.namespace, name=self.name, service=self.service, kind=self.kind
        )

    def _run_share(self, *, stop: threading.Event) -> Verdict:
        """Judge what has a share of the requests, straight; see meanwhile how many came to it."""
        from aegis_deploy.gate.analysis import judge
        from aegis_deploy.gate.exposure import Exposure
        from aegis_deploy.kubernetes.client import connect

        cluster = connect(self.context, self.kubeconfig)
        # Straight, or of few requests nobody would see that they fail. The route that gives it its
        # share need not be there yet: where there were no such pods, it comes after them.
        settings = replace(self.settings, through=SERVICE)
        with Exposure(cluster, self.external, self.settings, self.expected or {}) as exposure:
            verdict = judge(
                cluster,
                [self._workload],
                settings,
                expected=self.expected,
                on_progress=exposure.hear,
                stop=stop,
            )
        # Whatever came of it, it says how many met the release.
        return replace(verdict, evidence=(*verdict.evidence, *exposure.notes))

    def _run(self, *, rollout_only: bool, stop: threading.Event) -> Verdict:
        from aegis_deploy.gate.analysis import judge
        from aegis_deploy.kubernetes.client import connect
        from aegis_deploy.model.timeline import GATE
        from aegis_deploy.report.recorder import Recorder

        workload = self._workload
        cluster = connect(self.context, self.kubeconfig)
        if rollout_only:
            # A deployer records for itself.
            return judge(
                cluster,
                [workload],
                self.settings,
                expected=self.expected,
                rollout_only=True,
                stop=stop,
            )
        recording = Recorder(self.stack, "pulumi up")
        recording.asks(self.settings)
        with recording.phase(GATE):
            verdict = judge(
                cluster,
                [workload],
                self.settings,
                expected=self.expected,
                external=self.external,
                on_progress=lambda progress: recording.rollouts(progress.rollouts),
                on_answer=recording.answer,
                stop=stop,
            )
        recording.judged(verdict)
        self._own.keep(recording, pulumi.log.debug)
        return verdict

    def message(self, verdict: Verdict) -> str:
        """Word a verdict that failed as the error of the update; a deployer wants the why alone."""
        from aegis_deploy.common.errors import AegisError

        why = "\n".join([verdict.reason, *verdict.evidence, *verdict.seen()])
        if self._by_deployer:
            # What it does next is not what a person would be told to do.
            return why
        what, following = f"{self.stack} failed its gate", f"aegis rollback --stack {self.stack}"
        if verdict.lost:
            what = f"{self.stack} could not be judged"
            again = f"pulumi up --stack {self.stack} runs its gate again"
            following = f"once the {verdict.silent} answers: {again}"
        error = AegisError(
            what=what,
            why=why,
            state=f"{verdict.serving}; nothing of the release before was deleted",
            next=following,
        )
        return str(error)
