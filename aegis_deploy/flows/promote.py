"""Promotion: the image that one stack verified, deployed to another with that one's settings.

Nothing is built. What differs between the two stacks besides the image is shown before it is done;
the deploy itself, its gate and its rollback are :mod:`flows.deploy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis_deploy.common import git
from aegis_deploy.common.errors import AegisError
from aegis_deploy.flows import deploy
from aegis_deploy.flows.change_lines import change_lines
from aegis_deploy.history import stack_history
from aegis_deploy.history.diff import Difference, compare_settings
from aegis_deploy.model.database.dataset import SETTING, short
from aegis_deploy.model.database.schema import of_outputs
from aegis_deploy.model.release import Deployed, Release

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.events import Changes
    from aegis_deploy.model.release import Config

VERSION_SETTING = "version"
SCHEMA_SETTING = "schema"
_SHORT = 10
_TOLD = (deploy.DIGEST_SETTING, VERSION_SETTING, SCHEMA_SETTING, SETTING)
"""Settings that the promotion itself sets, or tells of by itself; that they differ is no news."""


@dataclass(frozen=True)
class Candidate:
    """What is to be promoted.

    Attributes:
        stack: The stack that has it.
        release: The release there; None for an image that it never verified.
        deployed: What it runs.
    """

    stack: str
    release: Release | None
    deployed: Deployed

    @property
    def digest(self) -> str:
        """The image's digest.

        Raises:
            AegisError: It is not known.
        """
        if self.deployed.image_digest is None:
            number = "" if self.release is None else self.release.number
            raise AegisError(
                what=f"release {number} of {self.stack} cannot be promoted",
                why="its checkpoint names no image by digest, and a digest is what is promoted",
                next=f"aegis show {number} --stack {self.stack}",
            )
        return self.deployed.image_digest

    @property
    def label(self) -> str:
        """What a person calls it: ``staging's release 12 (1.4.2)``."""
        if self.release is None:
            return f"an image that {self.stack} never verified"
        version = f" ({self.deployed.version})" if self.deployed.version else ""
        return f"{self.stack}'s release {self.release.number}{version}"


@dataclass(frozen=True, kw_only=True)
class PromoteRequest:
    """What was asked for.

    Attributes:
        image_digest: The image to promote; None means what the source runs now.
        preview: Whether to show what it would do, and no more.
        yes: Whether to go on without asking.
        unverified: Whether to promote also what no gate has passed.
        force: Whether to deploy also what was rolled back from the target before.
        message: What history says; empty means what was promoted.
        wait_seconds: How long to wait for another deployer.
        policy_packs: Directories of policy packs that are asked before anything is changed.
    """

    image_digest: str | None = None
    preview: bool = False
    yes: bool = False
    unverified: bool = False
    force: bool = False
    message: str = ""
    wait_seconds: float = 0.0
    policy_packs: tuple[str, ...] = ()


def candidate(source: FlowContext, *, unverified: bool) -> Candidate:
    """Return what a stack runs now, if it may be promoted.

    Args:
        source: The stack that has it.
        unverified: Whether to take also what no gate has passed.

    Raises:
        AegisError: It may not; the message says why.
    """
    current = next((it for it in stack_history.reading(source.session) if it.current), None)
    if current is None or current.emptied:
        raise AegisError(
            what=f"there is nothing in {source.session.name} to promote",
            why="nothing is deployed there",
            next=f"aegis deploy --stack {source.session.name}",
        )
    number = current.number
    if not current.succeeded:
        raise AegisError(
            what=f"what runs in {source.session.name} may not be promoted",
            why=f"its last update, release {number}, {current.result}",
            next=f"aegis rollback --stack {source.session.name}, or correct it and deploy again",
        )
    if not current.verified and not unverified:
        raise AegisError(
            what=f"release {number} of {source.session.name} may not be promoted",
            why="no gate has passed it",
            next=f"aegis deploy --stack {source.session.name} runs its gate; --unverified insists",
        )
    if not current.verified:
        source.out.warn(f"release {number} of {source.session.name} was never verified by a gate")
    return Candidate(source.session.name, current, stack_history.deployed(source.session, current))


def candidate_image(source: FlowContext, digest: str, *, unverified: bool) -> Candidate:
    """Return an image that a stack verified at some time.

    Args:
        source: The stack that is to have verified it.
        digest: The image.
        unverified: Whether to take also what it never verified.

    Raises:
        AegisError: It never did, and nobody insists.
    """
    for release in stack_history.reading(source.session):
        if release.deploys and release.succeeded and release.verified:
            deployed = stack_history.deployed(source.session, release)
            if deployed.image_digest == digest:
                return Candidate(source.session.name, release, deployed)
    if not unverified:
        raise AegisError(
            what=f"{digest} may not be promoted",
            why=f"{source.session.name} has never verified it",
            next=f"aegis deploy --stack {source.session.name} --image-digest {digest} has its gate "
            "judge it; --unverified insists",
        )
    source.out.warn(f"{digest} was never verified in {source.session.name}")
    return Candidate(source.session.name, None, Deployed(image_digest=digest))


def promote(
    source: FlowContext, target: FlowContext, request: PromoteRequest
) -> deploy.DeployReport:
    """Deploy to one stack the image that another one verified.

    Raises:
        AegisError: It was refused before any change, or failed; the code says whether the target's
            last verified release is restored.
    """
    if request.image_digest is None:
        found = candidate(source, unverified=request.unverified)
    else:
        found = candidate_image(source, request.image_digest, unverified=request.unverified)
    digest = found.digest
    for line in summary(found, target, git.commit(target.session.directory)):
        target.out.show(line)
    if found.release and _is_other_code(found.release, git.commit(target.session.directory)):
        target.out.warn(
            f"this checkout is not what {found.label} was deployed from: "
            "the image is the same, what surrounds it may not be"
        )
    if found.release is not None:
        name_image(source, target, found.release, found.deployed)
    if request.preview:
        return _preview(target, digest, request.policy_packs)
    return deploy.deploy(
        target,
        deploy.DeployRequest(
            image_digest=digest,
            message=request.message or f"aegis: promote {found.label}",
            yes=request.yes,
            force=request.force,
            wait_seconds=request.wait_seconds,
            policy_packs=request.policy_packs,
        ),
    )


def summary(found: Candidate, target: FlowContext, checkout: str | None) -> list[str]:
    """Say what is promoted, and what else differs between the two stacks."""
    current = next((it for it in stack_history.reading(target.session) if it.current), None)
    runs = Deployed() if current is None else stack_history.deployed(target.session, current)
    release = found.release
    mark = "verified" if release and release.verified else "NOT verified"
    programs = (
        f"{found.stack} ran {_short(release.git_commit if release else None)}, "
        f"{target.session.name} runs {_short(current.git_commit if current else None)}, "
        f"this checkout is {_short(checkout)}"
    )
    lines = [
        f"promote {found.label}, {mark}, to {target.session.name}",
        f"  image     {found.digest}",
        *_verified_with(found),
        f"  replaces  {_ran(current, runs)}",
        f"  program   {programs}",
    ]
    lines += [
        f"  setting   {it.what}: {it.before or '(not set)'} in {found.stack}, "
        f"{it.after or '(not set)'} in {target.session.name}"
        for it in settings_that_differ(
            release.config if release else {}, target.program_update.settings()
        )
        if release is not None
    ]
    return lines


def _verified_with(found: Candidate) -> list[str]:
    """Say on which data a release was found good, where it names them."""
    if not found.deployed.dataset:
        return []
    done = "verified" if found.release and found.release.verified else "deployed"
    return [f"  data set  {short(found.deployed.dataset)}, which it was {done} with"]


def settings_that_differ(source: Config, target: Config) -> Sequence[Difference]:
    """Return the settings that differ, but for those of image and data. Secrets are masked."""
    return [
        it for it in compare_settings(source, target) if it.what.rpartition(":")[2] not in _TOLD
    ]


def _preview(target: FlowContext, digest: str, policy_packs: Sequence[str]) -> deploy.DeployReport:
    target.program_update.override(deploy.DIGEST_SETTING, digest)
    changes: Changes = target.program_update.preview(policy_packs)
    for line in ("what changes:", *change_lines(changes)):
        target.out.show(line)
    deploy.refuse_forbidden(target, changes)
    current = next((it for it in stack_history.reading(target.session) if it.current), None)
    deployed = Deployed() if current is None else stack_history.deployed(target.session, current)
    return deploy.DeployReport(
        release=current, deployed=replace(deployed, image_digest=digest), changed=False
    )


def name_image(
    source: FlowContext,
    target: FlowContext,
    release: Release,
    deployed: Deployed,
    *,
    once: bool = False,
) -> None:
    """Have the target use the version, and the schema, that go with an image.

    Only for a program that says both of itself, by the names this project gives them: what a
    setting called `version` means to another one nobody knows.

    Args:
        source: The stack that has the image.
        target: The stack that is to have it.
        release: The release of the source that runs it.
        deployed: What that deployed.
        once: Whether the target's file is not to say it.
    """
    said = source.session.store.outputs(release) or {}
    if not deployed.version or not {VERSION_SETTING, deploy.DIGEST_SETTING} <= set(said):
        return
    target.program_update.override(VERSION_SETTING, deployed.version, once=once)
    schema = of_outputs(said)
    if schema is not None:
        frozen = f"/{schema.irreversible}" if schema.irreversible else ""
        numbers = f"{schema.head}/{schema.least}{frozen}"
        target.program_update.override(SCHEMA_SETTING, numbers, once=once)


def _is_other_code(release: Release, checkout: str | None) -> bool:
    return None not in (release.git_commit, checkout) and release.git_commit != checkout


def _ran(release: Release | None, runs: Deployed) -> str:
    if release is None:
        return "nothing: it is the first release there"
    version = f" ({runs.version})" if runs.version else ""
    return f"release {release.number}{version}, {runs.image_digest or 'image not known'}"


def _short(commit: str | None) -> str:
    return commit[:_SHORT] if commit else "an unknown commit"
