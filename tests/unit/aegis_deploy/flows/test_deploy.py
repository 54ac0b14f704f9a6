"""Deploying: what is done, in which order, and what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.drift.external_changes import standing
from aegis_deploy.flows.deploy import DeployRequest, deploy
from aegis_deploy.history import stack_history
from aegis_deploy.model.events import Changes, UpdateFailure, Violation
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE, Parent, Route
from aegis_deploy.model.verdict import AGAIN, LOST, Verdict
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.pulumi_cli.field_conflicts import told
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.replay.limits.data_loss import Rerun
from aegis_deploy.replay.limits.retained import Stay
from aegis_deploy.stack.checkpoint import outline
from tests.unit.aegis_deploy.stage import (
    BAD,
    CRASHED,
    FAILED,
    PASSED,
    Replayed,
    Stage,
    outcome,
    release,
    step,
)
from tests.unit.aegis_deploy.states import CONFIG_KIND, thing

YES = DeployRequest(yes=True)
GOOD_HISTORY = [release(1, verified=True)]


def _stage(**settings: object) -> Stage:
    stage = Stage(history=list(GOOD_HISTORY))
    for name, value in settings.items():
        setattr(stage, name, value)
    return stage


def _failure(stage: Stage, request: DeployRequest = YES) -> AegisError:
    with pytest.raises(AegisError) as caught:
        deploy(stage.flow, request)
    return caught.value


def test_a_program_that_was_mended_is_another_one_with_the_same_image_and_settings() -> None:
    stage = _stage(
        changes=Changes((step(declared="bad"),), {}, ()),
        updates=[Ran(outcome(False, steps=(step(),)), CRASHED)],
        restores=[Ran(outcome())],
        verdicts=[PASSED],
    )
    assert _failure(stage).code is ExitCode.ROLLED_BACK
    again = _failure(stage)
    assert "was rolled back from s before" in again.what
    stage.changes = Changes((step(declared="mended"),), {}, ())
    stage.updates, stage.verdicts = [Ran(outcome())], [PASSED]
    assert deploy(stage.flow, YES).verdict == PASSED


ILLEGIBLE = AegisError(what="its secrets cannot be decrypted", next="give the passphrase of before")


def test_that_there_is_no_way_back_is_said_before_anything_begins() -> None:
    stage = _stage(illegible=ILLEGIBLE)
    with pytest.raises(AegisError, match="nobody is there to confirm"):
        deploy(stage.flow, DeployRequest())
    said = stage.messages.getvalue()
    assert "if this release is bad, release 1 cannot be restored by itself" in said
    assert "give the passphrase of before" in said
    assert "update" not in " ".join(stage.did)


@pytest.mark.parametrize(
    ("stage", "request_"),
    [
        (_stage(), YES),
        (_stage(illegible=ILLEGIBLE), DeployRequest(yes=True, roll_back=False)),
        (_stage(illegible=ILLEGIBLE, history=[]), YES),
    ],
    ids=["legible", "nobody wants a rollback", "there is none to go back to"],
)
def test_elsewhere_nothing_is_said_of_it(stage: Stage, request_: DeployRequest) -> None:
    stage.updates, stage.verdicts = [Ran(outcome())], [PASSED]
    deploy(stage.flow, request_)
    assert "cannot be restored" not in stage.messages.getvalue()


def test_a_good_release_is_previewed_updated_judged_and_marked() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    report = deploy(stage.flow, DeployRequest(yes=True, message="hello"))
    assert stage.did == [
        "claim deploy",
        "preview",
        "update: hello",
        "judge",
        "verify 2",
        "release",
    ]
    assert report.release is not None
    assert report.release.number == 2
    assert report.as_json()["changed"] is True
    assert "update Deployment a [spec]" in stage.results.getvalue()


def test_the_pods_that_a_deploy_replaced_are_in_its_report() -> None:
    ran = Ran(outcome(), replaced=("pod db-1 of StatefulSet db: it crashes",))
    report = deploy(_stage(updates=[ran], verdicts=[PASSED]).flow, YES)
    assert report.as_json()["podsReplaced"] == ["pod db-1 of StatefulSet db: it crashes"]


def test_evidence_during_the_rollout_restores_the_last_verified_release() -> None:
    stopped = Ran(outcome(False, steps=[step()], stopped=True), CRASHED, CRASHED.serving)
    stage = _stage(updates=[stopped], restores=[Ran(outcome())], verdicts=[PASSED])
    error = _failure(stage)
    assert error.code is ExitCode.ROLLED_BACK
    assert "ValueError: boom" in error.why
    assert error.state == "rolled back to release 1 (1.1), verified"
    assert error.next.startswith("aegis diff 1 2 --stack s shows what was changed")
    assert stage.did[3:] == [
        "replay 1",
        "becomes rollback 1",
        "restore: aegis: automated rollback to release 1: CrashLoopBackOff of a-1",
        "judge",
        "verify 3",
        "refuse 2: CrashLoopBackOff of a-1",
    ]
    assert error.details["failed"] == 2


def test_what_a_failed_release_added_and_stays_is_named_and_all_else_is_restored() -> None:
    stays = (
        Stay("PersistentVolumeClaim data", "urn-1", "the volume's data"),
        Stay("Secret keys", "urn-2", "it is protected", protected=True),
    )
    stage = _stage(updates=[Ran(outcome())], restores=[Ran(outcome())], verdicts=[FAILED, PASSED])
    stage.replayed = Replayed(stays=stays, kept=frozenset({"urn-1", "urn-2"}))
    error = _failure(stage)
    assert error.code is ExitCode.ROLLED_BACK
    assert error.state == (
        "rolled back to release 1 (1.1), verified; "
        "not deleted: PersistentVolumeClaim data, Secret keys"
    )
    warned = stage.messages.getvalue()
    assert "PersistentVolumeClaim data: the volume's data" in warned
    assert "pulumi state unprotect 'urn-2' --stack s" in warned
    assert "unprotect 'urn-1'" not in warned
    rollback = error.details["rollback"]
    assert isinstance(rollback, dict)
    assert rollback["stays"] == [
        "PersistentVolumeClaim data: the volume's data",
        "Secret keys: it is protected",
    ]
    assert stage.apart == {"urn-1", "urn-2"}


def test_what_of_its_own_the_release_before_is_not_given_back_is_named_apart() -> None:
    grown = Stay("PersistentVolumeClaim data", "urn-1", "2Gi as it is now", own=True, final=True)
    stage = _stage(updates=[Ran(outcome())], restores=[Ran(outcome())], verdicts=[FAILED, PASSED])
    stage.replayed = Replayed(stays=(grown,))
    error = _failure(stage)
    assert error.code is ExitCode.ROLLED_BACK
    assert error.state == (
        "rolled back to release 1 (1.1), verified; not as it was: PersistentVolumeClaim data"
    )
    warned = stage.messages.getvalue()
    assert "not as the release has it:\n    PersistentVolumeClaim data: 2Gi as it is now" in warned
    assert "the next deploy's program has to declare that as it is now" in warned
    assert "not deleted" not in warned
    assert "--allow-data-loss" not in warned, "that would not help"


def test_one_that_would_lose_the_data_of_the_release_before_says_how_to_go_on() -> None:
    refuses = AegisError(what="the rollback would destroy data", next="COMMAND --allow-data-loss")
    stage = _stage(updates=[Ran(outcome())], verdicts=[FAILED])
    stage.replayed = Replayed(refuses=refuses)
    error = _failure(stage)
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert error.next == "aegis rollback --to 1 --stack s --allow-data-loss"


def test_an_automated_rollback_says_what_runs_again_and_which_pods_were_replaced() -> None:
    # As one by hand does, and before it is done.
    again = Rerun("Job migrate", "urn", "what it runs is another now")
    stage = _stage(
        updates=[Ran(outcome(False, steps=[step()]), CRASHED)],
        restores=[Ran(outcome(), replaced=("pod db-1 of StatefulSet db: it crashes",))],
        verdicts=[PASSED],
        replayed=Replayed(reruns=(again,), unjudged=("Release cache",)),
    )
    error = _failure(stage)
    shown = stage.results.getvalue()
    assert "again   Job migrate: what it runs is another now" in shown
    assert "ungated Release cache" in shown
    done = cast("dict[str, object]", error.details["rollback"])
    assert done["runAgain"] == ["Job migrate: what it runs is another now"]
    assert done["podsReplaced"] == ["pod db-1 of StatefulSet db: it crashes"]
    assert done["release"] == 3


def test_the_jobs_that_a_deploy_runs_are_watched_with_what_it_rolls_out() -> None:
    job = step("replace", type="kubernetes:batch/v1:Job", urn="job", object="migrate")
    stage = _stage(
        updates=[Ran(outcome())], verdicts=[PASSED], changes=Changes((step(), job), {}, ())
    )
    deploy(stage.flow, DeployRequest(yes=True))
    assert stage.watched == [
        [
            Workload(namespace="n", name="a"),
            Workload(namespace="n", name="migrate", kind="Job"),
        ]
    ]


def test_a_gate_that_does_not_pass_restores_too() -> None:
    stage = _stage(updates=[Ran(outcome())], restores=[Ran(outcome())], verdicts=[FAILED, PASSED])
    assert _failure(stage).code is ExitCode.ROLLED_BACK


def test_a_rollback_that_does_not_come_up_is_told_loudest() -> None:
    stage = _stage(updates=[Ran(outcome())], restores=[Ran(outcome())], verdicts=[FAILED, FAILED])
    error = _failure(stage)
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert "DID NOT COME UP HEALTHY" in error.what
    assert "verify 3" not in stage.did
    assert stage.out.fail(error) == 1
    assert "!!!!!!" in stage.messages.getvalue()


def test_without_rollback_a_failed_release_is_left_as_it_is() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[FAILED])
    error = _failure(stage, DeployRequest(yes=True, roll_back=False))
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert error.state == "not rolled back, as asked; the new one"
    assert error.next == "aegis rollback --stack s"
    first = _stage(history=[], updates=[Ran(outcome())], verdicts=[FAILED])
    error = _failure(first, DeployRequest(yes=True, roll_back=False))
    assert error.next == "correct it, then: aegis deploy --stack s", "there is nothing before it"


def test_the_first_release_has_nothing_to_go_back_to() -> None:
    stage = _stage(history=[], updates=[Ran(outcome())], verdicts=[FAILED])
    error = _failure(stage)
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert "no earlier release" in error.why
    assert "answers 500" in error.why


def test_a_build_that_fails_changed_nothing_and_needs_no_rollback() -> None:
    built = outcome(False, failures=(UpdateFailure("urn::image", "no space left"),))
    stage = _stage(updates=[Ran(built)])
    error = _failure(stage)
    assert error.code is ExitCode.REFUSED
    assert "image: no space left" in error.why
    assert not any(it.startswith("restore") for it in stage.did)


def test_a_signal_leaves_everything_to_recover() -> None:
    stage = _stage(updates=[Ran(outcome(False, steps=[step()], stopped=True))], signalled=True)
    error = _failure(stage)
    assert error.code is ExitCode.INTERRUPTED
    assert error.next == "aegis recover --stack s"
    assert stage.did[-1] == "update: aegis: deploy"


def test_a_signal_during_the_bake_time_says_that_the_release_is_not_verified() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[Interrupted(15)])
    error = _failure(stage)
    assert error.code is ExitCode.INTERRUPTED
    assert "not verified" in error.state
    assert "SIGTERM" in error.what


def test_a_cluster_that_stopped_answering_is_left_to_recover() -> None:
    gone = Verdict(passed=False, reason="the cluster did not answer for 90 s", kind=LOST)
    for stage in (
        _stage(updates=[Ran(outcome(False, steps=[step()]), gone)]),
        _stage(updates=[Ran(outcome())], verdicts=[gone]),
    ):
        error = _failure(stage)
        assert error.code is ExitCode.NOT_ROLLED_BACK
        assert error.next == "once it answers: aegis recover --stack s"
        assert "did not answer for 90 s" in error.why
        assert not any(it.startswith("restore") for it in stage.did)


def test_what_a_mandatory_policy_forbids_is_refused_before_anything_is_changed() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    forbidden = Violation("digest", "pin the image", "urn:pulumi:s::p::t::web", mandatory=True)
    advice = Violation("spread", "spread the pods")
    stage.changes = replace(stage.changes, violations=(advice, forbidden))
    error = _failure(stage, replace(YES, policy_packs=("/packs/a",)))
    assert error.code is ExitCode.REFUSED
    assert error.why == "digest: web: pin the image"
    assert stage.did == ["claim deploy", "preview /packs/a"]


def test_what_an_advisory_policy_is_against_is_deployed_with_a_warning() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    stage.changes = replace(stage.changes, violations=(Violation("spread", "spread the pods"),))
    assert deploy(stage.flow, YES).changed
    assert "policy spread: s: spread the pods" in stage.messages.getvalue()


def test_what_was_rolled_back_is_refused_until_somebody_insists() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    mark = fingerprint(BAD, stage.program_update.settings())
    stage.refusals[mark] = "CrashLoopBackOff"
    error = _failure(stage)
    assert error.code is ExitCode.REFUSED
    assert error.why == "CrashLoopBackOff (2026-01-02 03:04 UTC)"
    assert stage.did == ["claim deploy", "preview"]
    deploy(stage.flow, DeployRequest(yes=True, force=True))
    assert stage.refusals == {}, "it passed its gate after all"


def test_a_release_with_an_image_yet_to_be_built_is_not_taken_for_another() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    stage.changes = Changes((step(image=""),), {}, ())
    stage.refusals[fingerprint("", stage.program_update.settings())] = "no"
    stage.refusals[fingerprint(None, stage.program_update.settings())] = "no"
    assert deploy(stage.flow, YES).changed


def test_an_image_that_turns_out_to_be_refused_once_it_is_built_needs_no_rollback() -> None:
    said = f"error: this release {AGAIN}: CrashLoopBackOff"
    failed = outcome(False, steps=[step("create")], failures=(UpdateFailure("urn::a", said),))
    stage = _stage(updates=[Ran(failed, serving="the release before still serves")])
    stage.changes = Changes((step(image=""),), {}, ())
    error = _failure(stage)
    assert error.code is ExitCode.REFUSED
    assert "CrashLoopBackOff" in error.why
    assert error.state == "the release before still serves"
    assert "--force" in error.next
    assert not any(it.startswith(("restore", "refuse")) for it in stage.did)


def test_an_image_built_by_the_update_is_remembered_when_it_fails() -> None:
    failed = Ran(outcome(False, steps=[step(image=BAD)]), CRASHED)
    stage = _stage(updates=[failed], restores=[Ran(outcome())], verdicts=[PASSED])
    stage.changes = Changes((step(image=""),), {}, ())
    _failure(stage)
    assert list(stage.refusals) == [fingerprint(BAD, stage.program_update.settings())]


def test_nobody_to_ask_is_refused_before_any_change() -> None:
    stage = _stage()
    error = _failure(stage, DeployRequest())
    assert error.code is ExitCode.REFUSED
    assert "--yes" in error.next
    assert stage.did == ["claim deploy", "preview"]


def test_nothing_to_change_and_verified_does_nothing() -> None:
    stage = _stage(changes=Changes((), {}, ()))
    report = deploy(stage.flow, YES)
    assert not report.changed
    assert stage.did == ["claim deploy", "preview", "release"]


def test_while_something_declared_is_held_on_its_way_out_nothing_is_changed() -> None:
    stage = _stage()
    stage.going = ("Service n/web is being deleted",)
    assert _failure(stage).code is ExitCode.REFUSED
    assert stage.did == ["claim deploy", "preview"]


@pytest.mark.parametrize("failing", [[], [AegisError(what="no namespace n")]])
def test_what_is_gone_is_looked_at_by_another_preview(failing: list[AegisError]) -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED], previews=[*failing])
    stage.gone = ("Service n/web",)
    assert deploy(stage.flow, YES).changed
    assert stage.did[:4] == [
        "claim deploy",
        "preview",
        "preview refreshing",
        "update: aegis: deploy",
    ]
    assert "is gone, and is made again: Service n/web" in stage.messages.getvalue()


def test_a_preview_that_fails_where_all_stands_is_not_tried_again() -> None:
    stage = _stage(previews=[AegisError(what="the program fails")])
    assert _failure(stage).what == "the program fails"
    assert stage.did == ["claim deploy", "preview"]


def test_what_is_held_on_its_way_out_is_told_rather_than_what_the_preview_makes_of_it() -> None:
    stage = _stage(previews=[AegisError(what="the namespace is terminating")])
    stage.going = ("Namespace n is being deleted",)
    assert _failure(stage).why == "Namespace n is being deleted"


def test_who_insists_deploys_while_something_is_held_and_nothing_is_verified() -> None:
    held = standing(PASSED, ("Service n/web is being deleted",), ())
    stage = _stage(updates=[Ran(outcome())], verdicts=[held])
    stage.going = ("Service n/web is being deleted",)
    error = _failure(stage, DeployRequest(yes=True, force=True))
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert error.what == "what was deployed to s is not verified"
    assert "Service n/web is being deleted" in error.why
    assert not any(it.startswith(("verify", "restore")) for it in stage.did)


def test_nothing_to_change_and_not_verified_is_judged_and_marked() -> None:
    stage = _stage(history=[release(1)], changes=Changes((), {}, ()), verdicts=[PASSED])
    deploy(stage.flow, YES)
    assert stage.did[2:] == ["judge", "verify 1", "release"]
    for history, following in (
        ([release(1)], "correct it, then: aegis deploy --stack s"),
        ([release(2), release(1, verified=True)], "aegis rollback --stack s"),
    ):
        stage = _stage(history=history, changes=Changes((), {}, ()), verdicts=[FAILED])
        error = _failure(stage)
        assert (error.code, error.next) == (ExitCode.GATE_FAILED, following)


def test_nothing_to_change_and_nobody_to_ask_is_no_gate_that_failed() -> None:
    gone = Verdict(passed=False, reason="the cluster did not answer for 90 s", kind=LOST)
    held = standing(PASSED, ("Service n/web is being deleted",), ())
    for verdict, what, state in (
        (gone, "the cluster of s stopped answering", "nothing was to be changed, and nothing was"),
        (held, "what was deployed to s is not verified", "it is deployed and passed its gate"),
    ):
        stage = _stage(history=[release(1)], changes=Changes((), {}, ()), verdicts=[verdict])
        error = _failure(stage)
        assert error.code is ExitCode.NOT_ROLLED_BACK
        assert error.what.startswith(what)
        assert error.state.startswith(state)
        assert error.next.endswith("aegis deploy --stack s")


def test_one_that_is_good_and_whose_record_cannot_be_read_is_good() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    damaged = AegisError(what="the checkpoint cannot be read", why="it ends in its middle")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stack_history, "deployed", MagicMock(side_effect=damaged))
        report = deploy(stage.flow, YES)
    assert report.verdict == PASSED
    assert "it ends in its middle" in stage.messages.getvalue()


@pytest.mark.parametrize(
    "last",
    [
        {"environment": {"pulumi.flag.target": "set"}},
        {"kind": "resource-import"},
        {"kind": "destroy", "environment": {"pulumi.flag.target": "set"}},
        {"result": "failed"},
    ],
)
def test_nothing_to_change_after_a_part_or_a_failure_makes_a_whole_release_of_it(
    last: dict[str, Any],
) -> None:
    stage = _stage(
        history=[release(2, **last), release(1, verified=True)],
        changes=Changes((), {}, ()),
        updates=[Ran(outcome())],
        verdicts=[PASSED],
    )
    report = deploy(stage.flow, YES)
    assert not report.changed
    assert stage.did[-2:] == ["verify 3", "release"]


def test_what_is_in_the_cluster_already_is_taken_back_before_the_update() -> None:
    lost = outline(thing(CONFIG_KIND, "beta"))
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED], lost=(lost,))
    deploy(stage.flow, YES)
    place = stage.did.index("adopt ConfigMap beta")
    assert stage.did[place + 1].startswith("update")
    assert not stage.did[:place] or "update" not in " ".join(stage.did[:place])


def test_a_digest_that_was_asked_for_stays_in_the_settings_only_when_it_is_good() -> None:
    request = DeployRequest(yes=True, image_digest="sha256:1")
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED])
    deploy(stage.flow, request)
    assert stage.did[1] == "override imageDigest=sha256:1"
    assert stage.did[-3:] == ["verify 2", "keep imageDigest=sha256:1", "release"]
    stage = _stage(updates=[Ran(outcome())], restores=[Ran(outcome())], verdicts=[FAILED, PASSED])
    _failure(stage, request)
    assert not any(it.startswith("keep") for it in stage.did)


def test_a_digest_that_runs_and_is_good_is_in_the_settings_though_it_could_not_be_marked() -> None:
    """Else the advice, to deploy once more, would deploy the image of before."""
    stage = _stage(
        history=[release(1)],
        updates=[Ran(outcome())],
        verdicts=[PASSED],
        unmarkable=AegisError(what="the disk is full"),
    )
    error = _failure(stage, DeployRequest(yes=True, image_digest="sha256:1"))
    assert error.what.endswith("could not be marked as verified: the disk is full")
    assert "keep imageDigest=sha256:1" in stage.did


@pytest.mark.parametrize("verified", [True, False])
def test_a_digest_that_runs_already_comes_into_the_settings_once_it_is_verified(
    verified: bool,
) -> None:
    stage = _stage(changes=Changes((), {}, ()), history=[release(1, verified=verified)])
    stage.verdicts = [PASSED] * (not verified)
    deploy(stage.flow, DeployRequest(yes=True, image_digest="sha256:1"))
    assert "keep imageDigest=sha256:1" in stage.did


def test_an_image_the_registry_does_not_have_is_refused_until_somebody_insists() -> None:
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED], presences=[Presence(BAD, False)])
    error = _failure(stage)
    assert error.code is ExitCode.REFUSED
    assert BAD in error.why
    assert stage.did == ["claim deploy", "preview"]
    assert deploy(stage.flow, DeployRequest(yes=True, force=True)).changed


def test_what_nobody_would_reach_is_refused_until_somebody_insists() -> None:
    route = Route(
        kind=HTTP_ROUTE, namespace="n", name="a", parents=(Parent(namespace="g", name="p"),)
    )
    way_in = step("create", type="Route", urn="urn:r", route=route)
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED], changes=Changes((step(), way_in)))
    error = _failure(stage)
    assert error.code is ExitCode.REFUSED
    assert "Gateway g/p serves nothing: no controller has taken it" in error.why
    assert "--force deploys it all the same" in error.next
    assert stage.did == ["claim deploy", "preview"]
    assert deploy(stage.flow, DeployRequest(yes=True, force=True)).changed
    assert "no controller has taken it" in stage.messages.getvalue()


def test_a_cluster_that_does_not_know_who_asks_is_found_out_before_anything_is_changed() -> None:
    stage = _stage(unreachable=AegisError(what="the cluster does not know who you are"))
    assert _failure(stage).code is ExitCode.REFUSED
    assert stage.did == ["claim deploy", "preview"]


def test_a_registry_that_does_not_answer_is_refused_and_one_that_only_asks_who_is_not() -> None:
    silent = Presence(BAD, None, "the registry does not answer: refused", reached=False)
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED], presences=[silent])
    error = _failure(stage)
    assert error.code is ExitCode.REFUSED
    assert "does not answer" in error.why
    assert stage.did == ["claim deploy", "preview"]
    assert deploy(stage.flow, DeployRequest(yes=True, force=True)).changed
    private = Presence(BAD, None, "the registry answers 401")
    stage = _stage(updates=[Ran(outcome())], verdicts=[PASSED], presences=[private])
    assert deploy(stage.flow, YES).changed


def test_one_that_was_refused_for_a_field_of_another_says_how_to_leave_it() -> None:
    refused = (
        'Apply failed with 1 conflict: conflict with "kube-controller-manager" with subresource '
        '"scale" using apps/v1: .spec.replicas'
    )
    failed = outcome(False, steps=[step()], failures=(UpdateFailure("urn::web", refused),))
    stage = _stage(
        updates=[Ran(failed)],
        restores=[Ran(outcome())],
        verdicts=[PASSED],
        outside=[told(refused)],
    )
    error = _failure(stage)
    assert (error.code, stage.refusals) == (ExitCode.ROLLED_BACK, {})
    assert "leave spec.replicas out of the program" in error.next
    assert error.next.endswith("then: aegis deploy --stack s")


def test_what_befell_a_release_from_outside_is_not_held_against_it() -> None:
    stopped = Ran(outcome(False, steps=[step()], stopped=True), CRASHED, CRASHED.serving)
    stage = _stage(
        updates=[stopped],
        restores=[Ran(outcome())],
        verdicts=[PASSED],
        outside=["somebody deleted ConfigMap c"],
    )
    error = _failure(stage)
    assert error.code is ExitCode.ROLLED_BACK
    assert "somebody deleted ConfigMap c" in error.why
    assert "aegis deploy --stack s deploys it again" in error.next
    assert not any(it.startswith("refuse") for it in stage.did)


def test_a_database_that_was_away_is_not_held_against_a_release() -> None:
    late = Ran(outcome(False, steps=[step()], stopped=True), CRASHED, CRASHED.serving)
    stage = _stage(updates=[late], restores=[Ran(outcome())], verdicts=[PASSED], away=True)
    error = _failure(stage)
    assert error.code is ExitCode.ROLLED_BACK
    assert error.why.splitlines()[0] == CRASHED.reason
    assert error.why.endswith("its database did not answer")
    assert "aegis deploy --stack s deploys it again" in error.next
    assert not any(it.startswith("refuse") for it in stage.did)


def test_what_an_update_left_half_done_is_settled_before_the_release_before_is_restored() -> None:
    killed = Ran(outcome(False, killed=True, failures=(UpdateFailure("", "ended by signal 9"),)))
    stage = _stage(updates=[killed], restores=[Ran(outcome())], verdicts=[PASSED])
    assert _failure(stage).code is ExitCode.ROLLED_BACK
    assert stage.did[3:6] == ["settle", "replay 1", "becomes rollback 1"]


def test_what_an_update_did_not_hear_the_end_of_is_settled_too() -> None:
    failed = Ran(outcome(False, steps=[step()]), silent=3.0)
    stage = _stage(updates=[failed], restores=[Ran(outcome())], verdicts=[PASSED])
    stage.replayed.pending = 1
    assert _failure(stage).code is ExitCode.ROLLED_BACK
    assert stage.did[3:7] == ["replay 1", "settle", "replay 1", "becomes rollback 1"]


def test_what_cannot_be_settled_is_not_rolled_back_and_says_so() -> None:
    killed = Ran(outcome(False, killed=True, failures=(UpdateFailure("", "ended by signal 9"),)))
    stage = _stage(updates=[killed], unsettled=AegisError(what="no refresh", why="no answer"))
    error = _failure(stage)
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert "could not be rolled back" in error.what
    assert "no rollback: no refresh: no answer" in error.why
