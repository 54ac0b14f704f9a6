"""Giving a stack another data set: what is done, in which order.

It is loaded beside those that are there, each in a database of its own; then what runs is deployed
with it, behind the gate, so that a rolling update changes over and a rollback goes back to the data
set before. What nothing refers to any more is dropped last of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import NOTHING, AegisError
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.dataset_server import revision_of
from aegis_deploy.flows import deploy
from aegis_deploy.flows.promote import name_image
from aegis_deploy.history import schema_store, stack_history
from aegis_deploy.history.rollback_target import ways_back
from aegis_deploy.locking.lock_holders import DEPLOY
from aegis_deploy.model.database import dataset as datasets
from aegis_deploy.model.database import schema
from aegis_deploy.model.database.dataset import short
from aegis_deploy.model.database.schema import DatabaseSchema
from aegis_deploy.operations import dataset_access
from aegis_deploy.report import timeline_store

if TYPE_CHECKING:
    from aegis_deploy.data.data_set.manifest import Manifest
    from aegis_deploy.data.data_set.storage import Storage
    from aegis_deploy.data.dataset_server import DatasetServer
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.flows.deploy import DeployReport
    from aegis_deploy.model.release import Deployed, Release
    from aegis_deploy.operations.dataset_access import Opened, Place

_PROFILE = "dataProfile"
_SAMPLE, _REAL = "sample", "real"


@dataclass(frozen=True, kw_only=True)
class RefreshRequest:
    """What was asked for.

    Attributes:
        source: Where the data set is; None means the newest that is on the server.
        load_only: Whether to load it, and to leave what runs with what it has.
        keep: How many data sets stay beside the one in use; None: all that a release refers to
            that can be gone back to.
        yes: Whether to go on without asking.
        force: Whether to deploy it also where it was rolled back before.
        wait_seconds: How long to wait for another deployer.
        policy_packs: Directories of policy packs that are asked before anything is changed.
    """

    source: Storage | None = None
    load_only: bool = False
    keep: int | None = None
    yes: bool = False
    force: bool = False
    wait_seconds: float = 0.0
    policy_packs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RefreshReport:
    """What a refresh came to.

    Attributes:
        name: The data set's name.
        loaded: Whether it was loaded: it may have been there.
        deployed: What the deploy came to; None where there was none.
        dropped: The data sets that were dropped, by their short names.
    """

    name: str
    loaded: bool
    deployed: DeployReport | None = None
    dropped: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "dataset": self.name,
            "loaded": self.loaded,
            "deploy": None if self.deployed is None else self.deployed.as_json(),
            "dropped": list(self.dropped),
        }


def refresh(flow: FlowContext, request: RefreshRequest) -> RefreshReport:
    """Load a data set to a stack's server, and deploy what runs with it.

    Raises:
        AegisError: It was refused before any change, or failed; the code says whether the last
            verified release is restored.
    """
    stack = flow.session.name
    require_sample(flow)
    manifest = None if request.source is None else _read(request.source, flow)
    message = f"aegis: data set {manifest.shown}" if manifest else "aegis: data refresh"
    with flow.takeover.claimed(DEPLOY, message, request.wait_seconds):
        resources = flow.session.resources()
        place = dataset_access.find(resources, stack)
        current = None if request.load_only else _verified(flow)
        if manifest is not None and request.source is not None and current is not None:
            _require_fit(flow, current, _schema_of(request.source, manifest))
        flow.clusters.see(resources)
        with dataset_access.opened(place, flow.clusters, flow.out) as way:
            name, loaded = _there(flow, way, manifest, request)
        if current is None:
            return RefreshReport(name=name, loaded=loaded)
        with timeline_store.kept(flow.session, flow.recorder, DEPLOY, flow.out.warn):
            done = _deployed(flow, request, current, name)
        dropped = _dropped(flow, place, name, request.keep)
        return RefreshReport(name=name, loaded=loaded, deployed=done, dropped=dropped)


def require_sample(flow: FlowContext) -> None:
    """Refuse a stack whose settings say that it serves anything but a sample.

    Raises:
        AegisError: They do.
    """
    stack = flow.session.name
    key = f"{flow.session.project}:{_PROFILE}"
    found = flow.program_update.settings().get(key)
    profile = _SAMPLE if found is None else found.shown
    if profile == _SAMPLE:
        return
    raise AegisError(
        what=f"{stack} takes no data set",
        why=f"{key} is {profile}: "
        + (
            "nothing is ever loaded over real data, dropped or masked there"
            if profile == _REAL
            else "a data set is for a stack that serves a sample"
        ),
        next="name the stack that serves the sample: aegis data refresh --stack staging"
        if profile == _REAL
        else f"pulumi config set --stack {stack} {key} {_SAMPLE}, and deploy that first",
    )


def referred(runs: str, backs: Iterable[Deployed], keep: int | None) -> frozenset[str]:
    """Return the data sets that stay, by their short names.

    Args:
        runs: The one in use, which always does.
        backs: What the releases deployed that can be gone back to, newest first.
        keep: How many stay beside it; None for all that these refer to.
    """
    others = dict.fromkeys(
        short(it.dataset) for it in backs if it.dataset and short(it.dataset) != short(runs)
    )
    return frozenset({short(runs), *islice(others, keep)})


def _read(place: Storage, flow: FlowContext) -> Manifest:
    """Read what a data set says of itself, all of it compared with its checksums.

    Raises:
        AegisError: It is none, is damaged, or cannot be loaded into a new database.
    """
    with flow.out.progress("comparing checksums"):
        manifest = data_set.read(place, flow.out.status)
    if not manifest.has_schema:
        raise AegisError(
            what=f"the data set {place.shown} cannot be loaded beside others",
            why="it was made --without-schema, and each has a new database",
            next="make it with its schema: aegis data sample, without that option",
        )
    return manifest


def _verified(flow: FlowContext) -> Release:
    """Return what runs, which has to be good: it is deployed once more.

    Raises:
        AegisError: It is not verified.
    """
    stack = flow.session.name
    current = next((it for it in stack_history.reading(flow.session) if it.current), None)
    if current is None or not current.verified:
        runs = "nothing is deployed" if current is None else f"release {current.number} is not"
        raise AegisError(
            what=f"what runs in {stack} is not verified",
            why=f"{runs}; of a release that fails on new data nobody could tell why",
            next=f"aegis deploy --stack {stack}, which has it judged; then refresh",
        )
    return current


def _schema_of(place: Storage, manifest: Manifest) -> DatabaseSchema | None:
    found = revision_of(place, manifest)
    return None if found is None else DatabaseSchema(revision=found[0], least_head=found[1])


def _require_fit(flow: FlowContext, current: Release, said: DatabaseSchema | None) -> None:
    """Refuse a data set that what runs would not work with, however it is migrated.

    Raises:
        AegisError: It would not.
    """
    code = stack_history.deployed(flow.session, current).schema
    migrates = any(
        schema.JOB in schema.annotations_of(it.get("inputs") or {})
        for it in flow.session.resources()
    )
    fit = schema.misfit_once_migrated if migrates else schema.misfit
    why = fit(code, said)
    if why:
        raise AegisError(
            what=f"release {current.number}, which runs in {flow.session.name}, does not fit the "
            "data set",
            why=why,
            next="deploy code that does, or take a sample of a database that it fits",
        )


def _there(
    flow: FlowContext, way: Opened, manifest: Manifest | None, request: RefreshRequest
) -> tuple[str, bool]:
    """See that the data set is on the server; return its name, and whether it had to be loaded.

    Raises:
        AegisError: It is not, and could not be loaded.
    """
    kept = way.server.kept()
    known = schema_store.read(flow.session).datasets
    for it in kept:
        if short(it.name) not in known:
            schema_store.loaded(flow.session, it.name, None)
    for gone in set(known) - {short(it.name) for it in kept}:
        schema_store.dropped(flow.session, gone)
    if manifest is None or request.source is None:
        newest = max((it for it in kept if it.since), key=lambda it: it.since, default=None)
        if newest is None:
            raise AegisError(
                what=f"there is no data set on the server of {flow.session.name}",
                why="nothing was loaded there, and --from names none",
                next=f"aegis data refresh --stack {flow.session.name} --from PLACE",
            )
        flow.out.show(f"data set {short(newest.name)} is there since {newest.since}")
        return newest.name, False
    same = next((it for it in kept if short(it.name) == manifest.shown), None)
    if same is not None and same.name != manifest.name:
        raise AegisError(
            what=f"the data set {manifest.shown} cannot be loaded",
            why="a database is called as its own would be, and says that it is of "
            f"{same.name if same.since else 'none'}",
            next="see what that is, and rename or drop it",
        )
    if same is not None:
        flow.out.show(f"data set {manifest.shown} is there already, since {same.since}")
        return manifest.name, False
    way.server.require_room(manifest, request.source, way.capacity)
    done = way.server.load(manifest, request.source)
    schema_store.loaded(flow.session, manifest.name, _schema_of(request.source, manifest))
    flow.out.show(
        f"loaded data set {manifest.shown}: {manifest.rows:,} rows in {len(manifest.tables)} "
        f"tables, {done.foreign_keys} foreign keys validated"
    )
    return manifest.name, True


def _deployed(
    flow: FlowContext, request: RefreshRequest, current: Release, name: str
) -> DeployReport:
    """Deploy what runs with a data set: its image, whatever this checkout would build."""
    runs = stack_history.deployed(flow.session, current)
    if runs.image_digest is not None:
        flow.program_update.override(deploy.DIGEST_SETTING, runs.image_digest, once=True)
        name_image(flow, flow, current, runs, once=True)
    flow.program_update.override(datasets.SETTING, name)
    wanted = deploy.DeployRequest(
        message=f"aegis: data set {short(name)}",
        yes=request.yes,
        force=request.force,
        policy_packs=request.policy_packs,
    )
    try:
        return deploy.deploy_claimed(flow, wanted)
    except AegisError as error:
        if error.state == NOTHING:
            error.state = (
                f"nothing that runs was changed; data set {short(name)} is on the server beside "
                "what it works on"
            )
        raise


def _dropped(flow: FlowContext, place: Place, runs: str, keep: int | None) -> tuple[str, ...]:
    """Drop what nothing refers to any more; what runs is good, whether or not that can be done."""
    try:
        with dataset_access.opened(place, flow.clusters, flow.out) as way:
            return _drop(flow, way.server, runs, keep)
    except AegisError as error:
        flow.out.warn(
            f"which data sets nothing refers to any more was not seen to\n{error.what}: {error.why}"
        )
        return ()


def _drop(flow: FlowContext, server: DatasetServer, runs: str, keep: int | None) -> tuple[str, ...]:
    releases = ways_back(stack_history.reading(flow.session))
    stay = referred(runs, [stack_history.deployed(flow.session, it) for it in releases], keep)
    dropped = []
    for it in server.kept():
        if short(it.name) in stay:
            continue
        try:
            # Forgotten first: who goes back to what is not there any more must be refused.
            schema_store.dropped(flow.session, it.name)
            server.drop(it.name)
        except AegisError as error:
            flow.out.warn(f"data set {short(it.name)} stays for now\n{error.what}: {error.why}")
            continue
        dropped.append(short(it.name))
        flow.out.show(f"dropped data set {short(it.name)}: nothing refers to it any more")
    return tuple(dropped)
