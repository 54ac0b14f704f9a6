"""Rolling back by hand: what is done, in which order, what is refused, what is told."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.flows.rollback import RollbackRequest, rollback
from aegis_deploy.flows.rollback_report import message
from aegis_deploy.locking import reconnect
from aegis_deploy.model.events import Changes, Step, UpdateFailure
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.limits.data_loss import Loss, Rerun
from aegis_deploy.replay.limits.retained import Stay
from aegis_deploy.replay.ordering import First
from aegis_deploy.replay.secrets import SecretChange
from aegis_deploy.stack.checkpoint import Resource
from tests.unit.aegis_deploy.stage import (
    FAILED,
    GOOD,
    PASSED,
    Replayed,
    Stage,
    outcome,
    release,
    step,
)

LOSING = Choices(allow_data_loss=True)
GUARD = Resource("urn:pulumi:s::p::t::guard", "kubernetes:core/v1:ResourceQuota", custom=True)


def _stage(**settings: object) -> Stage:
    stage = Stage(history=[release(2, verified=True), release(1, verified=True)])
    stage.presences = [Presence(GOOD, True)]
    for name, value in settings.items():
        setattr(stage, name, value)
    return stage


def test_what_a_person_restored_is_refused_no_longer() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[PASSED])
    stage.history = [
        release(3, verified=True, restores=1),
        release(2, verified=True, refused=True),
        release(1, verified=True),
    ]
    refused = fingerprint(GOOD, release(2).config)
    stage.refusals = {refused: "it crashed", "another": "it was slow", "own": "it leaked"}
    stage.refused_keys = {"own": release(2).key}
    rollback(stage.flow, RollbackRequest(to=2, yes=True))
    assert stage.refusals == {"another": "it was slow"}


MISSING = (
    "cluster: no resource plugin 'pulumi-resource-kubernetes' found in the workspace at version "
    "v4.10.0 or on your $PATH"
)


@pytest.mark.parametrize(
    ("why", "following"),
    [
        (MISSING, "pulumi plugin install resource kubernetes v4.10.0, then: aegis rollback --to 1"),
        ("the provider's settings are wrong", "correct that, then: aegis rollback --to 1"),
    ],
)
def test_one_that_failed_before_it_changed_anything_says_so(why: str, following: str) -> None:
    failed = outcome(False, failures=(UpdateFailure("", why),))
    error = _refusal(_stage(restores=[Ran(failed)]), RollbackRequest(to=1, yes=True))
    assert error.code is ExitCode.REFUSED
    assert error.what == "the rollback of s to release 1 could not begin"
    assert error.state == "nothing that runs was changed"
    assert error.next.startswith(following)


def test_one_that_had_changed_something_says_that_it_is_between_releases() -> None:
    failed = outcome(False, steps=[step()], failures=(UpdateFailure("", MISSING),))
    error = _refusal(_stage(restores=[Ran(failed)]), RollbackRequest(to=1, yes=True))
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert "NOT at a verified release" in error.state


@pytest.mark.parametrize(
    "last",
    [
        {"kind": "destroy"},
        {"kind": "resource-import"},
        {"environment": {"pulumi.flag.target": "set"}},
    ],
)
def test_what_is_no_whole_release_is_nothing_that_could_be_refused(last: dict[str, Any]) -> None:
    stage = _stage(
        history=[release(2, **last), release(1, verified=True)],
        restores=[Ran(outcome())],
        verdicts=[PASSED],
    )
    rollback(stage.flow, RollbackRequest(yes=True))
    assert not [did for did in stage.did if did.startswith("refuse")]
    assert "cannot be recognised again" not in stage.messages.getvalue()


def test_what_did_not_come_up_healthy_stays_refused() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[FAILED])
    stage.refusals = {fingerprint(GOOD, release(1).config): "it crashed"}
    _refusal(stage, RollbackRequest(to=1, yes=True))
    assert stage.refusals


@pytest.mark.parametrize("more", [{"changes": {"same": 3}}, {}])
def test_what_runs_on_is_not_refused_when_it_is_restored_once_more(more: dict[str, object]) -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[PASSED])
    present = release(3, verified=True, **more)
    stage.history = [present, release(2, verified=True), release(1, verified=True)]
    rollback(stage.flow, RollbackRequest(to=2 if more else 3, yes=True))
    assert not stage.refusals


def _refusal(stage: Stage, request: RollbackRequest) -> AegisError:
    with pytest.raises(AegisError) as caught:
        rollback(stage.flow, request)
    return caught.value


def test_the_last_verified_release_is_restored_judged_and_the_present_one_refused() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[PASSED])
    report = rollback(stage.flow, RollbackRequest(yes=True))
    assert stage.did == [
        "claim rollback",
        "replay 1",
        "becomes rollback 1",
        "restore: aegis: rollback to release 1",
        "judge",
        "verify 3",
        "refuse 2: rolled back by hand to release 1",
        "release",
    ]
    assert report.as_json()["restored"] == 1
    assert report.as_json()["release"] == 3


def test_a_lax_gate_of_the_release_does_not_weaken_the_judgement() -> None:
    gates = {1: GateSettings(bake_seconds=0), 2: GateSettings(bake_seconds=30)}
    stage = _stage(restores=[Ran(outcome())], verdicts=[PASSED], gates=gates)
    rollback(stage.flow, RollbackRequest(yes=True))
    assert [gate.bake_seconds for gate in stage.judged_by] == [30]


def test_the_gate_of_a_release_that_never_passed_one_has_no_say() -> None:
    gates = {1: GateSettings(bake_seconds=5), 2: GateSettings(bake_seconds=30, p99_ms=1)}
    stage = _stage(restores=[Ran(outcome())], verdicts=[PASSED], gates=gates)
    stage.history = [release(2), release(1, verified=True)]
    rollback(stage.flow, RollbackRequest(yes=True))
    assert stage.judged_by == [gates[1]]


def test_a_preview_shows_and_changes_nothing() -> None:
    secret = SecretChange("urn", "Secret s", "data.PASSWORD", "changed")
    kept = SecretChange("urn", "Secret s", "data.TOKEN", "changed", kept=True)
    loss = Loss("Namespace n", "urn", "everything in it", "the release does not have it")
    replayed = Replayed(
        (secret, kept),
        (loss,),
        (Rerun("Job j", "urn", "its specification is another now"),),
        left=("ConfigMap c",),
        unjudged=("StatefulSet d",),
    )
    stage = _stage(replayed=replayed)
    report = rollback(stage.flow, RollbackRequest(preview=True))
    assert stage.did == ["claim rollback", "replay 1", "preview replay 1", "release"]
    shown = stage.results.getvalue()
    assert "Secret s: data.PASSWORD gets the release's value back" in shown
    assert "--keep KEY" in shown
    assert "Secret s: data.TOKEN keeps its current value" in shown
    assert "DATA    Namespace n: everything in it" in shown
    assert "again   Job j" in shown
    assert "back    ConfigMap c: the cluster may still have it" in shown
    assert "ungated StatefulSet d: " in shown
    assert report.as_json()["notJudged"] == ["StatefulSet d"]
    assert "update Deployment a [spec]" in shown
    assert report.verdict is None


def test_a_preview_tells_of_what_is_in_the_cluster_and_not_in_the_state() -> None:
    replayed = Replayed(adopted=("ConfigMap a", "ConfigMap b"), altered=("ConfigMap b",))
    stage = _stage(replayed=replayed, changes=Changes((), {}, ()))
    report = rollback(stage.flow, RollbackRequest(preview=True))
    assert report.changes == ("  change ConfigMap b, which is taken back into the state",)
    assert report.as_json()["adopted"] == ["ConfigMap a", "ConfigMap b"]
    stage.replayed = Replayed(foreign=("ConfigMap c: theirs",), altered=("ConfigMap b",))
    stage.changes = Changes((step(),), {}, ())
    report = rollback(stage.flow, RollbackRequest(preview=True))
    assert len(report.changes) == 2
    assert "FOREIGN ConfigMap c: theirs" in stage.results.getvalue()


def test_without_yes_somebody_has_to_confirm_after_the_preview() -> None:
    stage = _stage()
    error = _refusal(stage, RollbackRequest())
    assert error.code is ExitCode.REFUSED
    assert stage.did[-1] == "preview replay 1"


def test_an_image_that_is_gone_is_refused() -> None:
    error = _refusal(_stage(presences=[Presence(GOOD, False)]), RollbackRequest(yes=True))
    assert error.code is ExitCode.REFUSED
    assert GOOD in error.why


def test_a_registry_that_does_not_answer_is_no_reason_to_refuse() -> None:
    stage = _stage(
        presences=[Presence(GOOD, None, "no answer")],
        restores=[Ran(outcome())],
        verdicts=[PASSED],
    )
    rollback(stage.flow, RollbackRequest(yes=True))
    assert "nobody can say whether" in stage.messages.getvalue()


def test_data_is_destroyed_only_when_somebody_insists() -> None:
    refuses = AegisError(what="the rollback would destroy data")
    stage = _stage(replayed=Replayed(refuses=refuses))
    assert _refusal(stage, RollbackRequest(yes=True)) is refuses
    assert stage.did[-1] == "replay 1"
    stage = _stage(replayed=Replayed(refuses=refuses), restores=[Ran(outcome())], verdicts=[PASSED])
    rollback(stage.flow, RollbackRequest(yes=True, choices=LOSING))
    assert "replay 1 losing data" in stage.did


def test_what_stays_and_what_goes_first_is_said_before_anything_is_done() -> None:
    replayed = Replayed(
        stays=(Stay("PersistentVolumeClaim data", "urn", "the volume's data"),),
        first=First(goes=((GUARD,),)),
    )
    stage = _stage(replayed=replayed)
    report = rollback(stage.flow, RollbackRequest(preview=True))
    shown = stage.results.getvalue()
    assert "stays   PersistentVolumeClaim data: the volume's data" in shown
    assert "--allow-data-loss" in shown
    assert "first   ResourceQuota guard goes before the rest" in shown
    assert report.as_json()["stays"] == ["PersistentVolumeClaim data: the volume's data"]
    assert report.as_json()["first"] == ["ResourceQuota guard"]
    first, then = report.changes
    assert first == "  delete ResourceQuota guard (first)"
    assert then == "  update Deployment a [spec]"


def test_where_what_goes_first_blocks_the_preview_the_records_tell() -> None:
    blocked = AegisError(what="the preview failed", why="failed calling webhook guard")
    stage = _stage(blocked=blocked)
    assert _refusal(stage, RollbackRequest(preview=True)) is blocked
    replayed = Replayed(first=First(goes=((GUARD,),)), edits=("update Deployment a",))
    stage = _stage(blocked=blocked, replayed=replayed)
    report = rollback(stage.flow, RollbackRequest(preview=True))
    assert report.changes == ("  delete ResourceQuota guard (first)", "  update Deployment a")
    assert "failed calling webhook guard" in stage.messages.getvalue()


def test_a_restore_that_is_tried_once_more_spares_no_data_that_may_go() -> None:
    stage = _stage(
        restores=[Ran(outcome(False), silent=20.0), Ran(outcome())],
        verdicts=[PASSED],
        outside=["the cluster did not answer for 20 s meanwhile"],
    )
    rollback(stage.flow, RollbackRequest(yes=True, choices=LOSING))
    assert [it for it in stage.did if it.startswith("replay")] == ["replay 1 losing data"] * 2


def test_what_is_protected_is_not_said_to_go_when_somebody_insists() -> None:
    kept = Stay("Secret keys", "urn", "it is protected", protected=True)
    stage = _stage(replayed=Replayed(stays=(kept,)))
    rollback(stage.flow, RollbackRequest(preview=True))
    assert "stays   Secret keys: it is protected" in stage.results.getvalue()
    assert "--allow-data-loss" not in stage.results.getvalue()


@pytest.mark.parametrize("to", [3, 9])
def test_a_release_that_is_failed_or_unknown_is_refused(to: int) -> None:
    stage = _stage()
    stage.history.insert(0, release(3, result="failed"))
    error = _refusal(stage, RollbackRequest(yes=True, to=to))
    assert error.code is ExitCode.REFUSED
    assert stage.did == ["claim rollback"]


def test_a_rollback_whose_update_fails_is_told_loudest() -> None:
    stage = _stage(restores=[Ran(outcome(False, steps=[step()]), None, "nothing serves")])
    error = _refusal(stage, RollbackRequest(yes=True))
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert "DID NOT COME UP HEALTHY" in error.what
    assert "nothing serves" in error.state


def test_a_rollback_that_is_not_healthy_marks_nothing() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[FAILED])
    assert _refusal(stage, RollbackRequest(yes=True)).code is ExitCode.NOT_ROLLED_BACK
    assert not any(it.startswith(("verify", "refuse")) for it in stage.did)


@pytest.mark.parametrize(
    ("steps", "state"),
    [((), "it changed nothing that runs"), ((step(),), "the stack is between two releases")],
)
def test_a_signal_during_the_update_leaves_the_rest_to_recover(
    steps: tuple[Step, ...], state: str
) -> None:
    stage = _stage(restores=[Ran(outcome(False, steps=steps))], signalled=True)
    error = _refusal(stage, RollbackRequest(yes=True))
    assert error.code is ExitCode.INTERRUPTED
    assert (error.state, error.next) == (state, "aegis recover --stack s")


def test_a_signal_during_the_gate_leaves_the_judgement_to_recover() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[Interrupted(15)])
    error = _refusal(stage, RollbackRequest(yes=True))
    assert error.code is ExitCode.INTERRUPTED
    assert error.state == "release 1 is restored; nobody has seen yet that it is healthy"
    assert error.next == "aegis recover --stack s lets the gate judge it"


def test_what_cannot_be_read_after_the_update_is_no_refusal_before_any_change() -> None:
    damaged = AegisError(what="the state cannot be read", why="it ends in its middle")
    stage = _stage(restores=[Ran(outcome())], verdicts=[damaged])
    error = _refusal(stage, RollbackRequest(yes=True))
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert error.state == "the stack is NOT at a verified release"
    assert error.why == "the state cannot be read: it ends in its middle"
    assert error.again, "a guard goes on with it once it can"


def test_credentials_that_cannot_be_learnt_after_a_change_are_no_refusal_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> bool:
        raise AegisError(what="the program could not be run", state="nothing that runs was changed")

    stage = _stage(restores=[Ran(outcome(False, steps=(step(),)))])
    monkeypatch.setattr(reconnect, "reconnected", fail)
    assert _refusal(stage, RollbackRequest(yes=True)).code is ExitCode.NOT_ROLLED_BACK
    stage = _stage(restores=[Ran(outcome(False))])
    monkeypatch.setattr(reconnect, "reconnected", fail)
    error = _refusal(stage, RollbackRequest(yes=True))
    assert (error.code, error.state) == (ExitCode.REFUSED, "nothing that runs was changed")


def test_what_cannot_be_recognised_again_is_said_and_not_remembered() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[PASSED], running=None)
    rollback(stage.flow, RollbackRequest(yes=True))
    assert stage.refusals == {}
    assert "cannot be recognised" in stage.messages.getvalue()


def test_a_message_names_the_release_and_whether_somebody_asked() -> None:
    assert message(release(7), "") == "aegis: rollback to release 7"
    assert message(release(7), "it crashed\nlog") == (
        "aegis: automated rollback to release 7: it crashed"
    )


def test_a_rollback_that_an_outage_made_fail_is_tried_once_more() -> None:
    stage = _stage(
        restores=[Ran(outcome(False), silent=20.0), Ran(outcome())],
        verdicts=[PASSED],
        outside=["the cluster did not answer for 20 s meanwhile"],
    )
    report = rollback(stage.flow, RollbackRequest(yes=True))
    assert report.release == 4
    assert [it for it in stage.did if it.startswith(("replay", "restore"))] == [
        "replay 1",
        "restore: aegis: rollback to release 1",
        "replay 1",
        "restore: aegis: rollback to release 1",
    ]
    assert "did not answer for 20 s meanwhile; it is restored once more" in (
        stage.messages.getvalue()
    )


@pytest.mark.parametrize(
    ("restored", "verdicts"),
    [
        (Ran(outcome(False, steps=(step(),)), FAILED, "2 ready pods"), []),
        (Ran(outcome()), [FAILED]),
    ],
    ids=["in its rollout", "in its judgement"],
)
def test_one_whose_database_is_away_is_not_told_to_be_unhealthy(
    restored: Ran, verdicts: list[Any]
) -> None:
    stage = _stage(restores=[restored], verdicts=verdicts, away=True)
    error = _refusal(stage, RollbackRequest(yes=True))
    assert error.what == "the database of s stopped answering during the rollback to release 1"
    assert error.why == "the database was away"
    serving = "2 ready pods" if restored.serving else FAILED.serving
    assert error.state == f"whether what serves works with its data is not known; {serving}"
    assert error.next == "once it answers: aegis recover --stack s"
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert not [it for it in stage.did if it.startswith(("verify", "refuse"))]


def test_one_that_did_not_begin_says_so_whatever_its_database_does() -> None:
    stage = _stage(restores=[Ran(outcome(False))], away=True)
    assert "could not begin" in _refusal(stage, RollbackRequest(yes=True)).what


@pytest.mark.parametrize("state", ["nothing was changed", "nothing was begun"])
def test_one_that_cannot_begin_once_more_does_not_say_that_nothing_was_changed(state: str) -> None:
    gone = AegisError(
        what="the cluster of s does not answer", why="connection refused", state=state
    )
    stage = _stage(
        restores=[Ran(outcome(False, steps=(step(),)), silent=20.0), gone],
        outside=["the cluster did not answer for 20 s meanwhile"],
    )
    error = _refusal(stage, RollbackRequest(yes=True))
    assert error.state == "the stack is NOT at a verified release"
    assert error.why == "the cluster of s does not answer: connection refused"
    assert error.code is ExitCode.NOT_ROLLED_BACK


def test_one_that_somebody_changes_again_and_again_is_given_up() -> None:
    stage = _stage(
        restores=[Ran(outcome())] * 3,
        verdicts=[FAILED] * 3,
        outside=["kubectl-set set the image"] * 3,
    )
    error = _refusal(stage, RollbackRequest(yes=True))
    assert "DID NOT COME UP HEALTHY" in error.what
    assert error.code is ExitCode.NOT_ROLLED_BACK
    assert stage.did.count("restore: aegis: rollback to release 1") == 3


def test_one_that_fails_by_itself_is_not_tried_again() -> None:
    stage = _stage(restores=[Ran(outcome())], verdicts=[FAILED])
    assert "DID NOT COME UP HEALTHY" in _refusal(stage, RollbackRequest(yes=True)).what
    assert stage.did.count("judge") == 1


def test_one_whose_cli_was_killed_is_settled_and_tried_once_more() -> None:
    stage = _stage(
        restores=[Ran(outcome(False, killed=True)), Ran(outcome())],
        verdicts=[PASSED],
    )
    assert rollback(stage.flow, RollbackRequest(yes=True)).release == 4
    assert [it for it in stage.did if it.startswith(("replay", "restore", "settle"))] == [
        "replay 1",
        "restore: aegis: rollback to release 1",
        "settle",
        "replay 1",
        "restore: aegis: rollback to release 1",
    ]
    assert "somebody killed it; it is restored once more" in stage.messages.getvalue()


def test_one_whose_cli_is_killed_again_and_again_is_left_to_recover() -> None:
    stage = _stage(restores=[Ran(outcome(False, killed=True))] * 3)
    error = _refusal(stage, RollbackRequest(yes=True))
    assert "was cut short" in error.what
    assert error.next == "see to what kills it; aegis recover --stack s goes on with it"
    assert error.code is ExitCode.NOT_ROLLED_BACK


def test_what_an_outage_left_pending_is_settled_before_another_try() -> None:
    stage = _stage(
        restores=[Ran(outcome(False), silent=20.0), Ran(outcome())],
        verdicts=[PASSED],
        outside=["the cluster did not answer for 20 s meanwhile"],
        replayed=Replayed(pending=1),
    )
    assert rollback(stage.flow, RollbackRequest(yes=True)).release == 4
    assert [it for it in stage.did if it.startswith(("replay", "settle"))] == [
        "replay 1",
        "replay 1",
        "settle",
        "replay 1",
    ]


def test_what_cannot_be_settled_is_no_refusal_before_any_change() -> None:
    away = AegisError(what="s could not be refreshed", why="no answer")
    stage = _stage(restores=[Ran(outcome(False, killed=True))], unsettled=away)
    error = _refusal(stage, RollbackRequest(yes=True))
    assert "DID NOT COME UP HEALTHY" in error.what
    assert "not restored once more: s could not be refreshed: no answer" in error.why
    assert error.code is ExitCode.NOT_ROLLED_BACK


REFUSED = Ran(
    outcome(
        False,
        failures=(
            UpdateFailure("urn:a", "the server has asked for the client to provide credentials"),
        ),
    )
)


def test_credentials_that_were_rotated_since_do_not_lock_a_person_out() -> None:
    stage = _stage(rotated=True, restores=[REFUSED, Ran(outcome())], verdicts=[PASSED])
    assert rollback(stage.flow, RollbackRequest(to=1, yes=True)).verdict == PASSED
    did = [it for it in stage.did if it.startswith(("re", "verified"))]
    back = "restore: aegis: rollback to release 1"
    assert did[:5] == ["replay 1", back, "reconnect", "replay 1", back]


def test_those_that_the_settings_have_may_be_refused_as_well() -> None:
    stage = _stage(restores=[REFUSED])
    with pytest.raises(AegisError, match="could not begin") as caught:
        rollback(stage.flow, RollbackRequest(to=1, yes=True))
    assert caught.value.state == "nothing that runs was changed"


def test_pods_that_were_replaced_are_reported_of_every_attempt() -> None:
    tries = [
        Ran(outcome(False, steps=[step()]), replaced=("pod db-1",)),
        Ran(outcome(), replaced=("pod db-0",)),
    ]
    stage = _stage(restores=tries, verdicts=[PASSED], outside=["the cluster did not answer"])
    report = rollback(stage.flow, RollbackRequest(yes=True))
    assert report.as_json()["podsReplaced"] == ["pod db-1", "pod db-0"]


def test_a_recovery_says_what_runs_again_as_a_rollback_by_hand_does() -> None:
    from aegis_deploy.flows.recovery import Recovered, _restore

    again = Rerun("Job migrate", "urn", "it is not there any more")
    stage = _stage(
        restores=[Ran(outcome(), replaced=("pod db-1",))],
        verdicts=[PASSED],
        replayed=Replayed(reruns=(again,)),
    )
    report = _restore(stage.flow, stage.history[-1], "its deployer died")
    assert "again   Job migrate: it is not there any more" in stage.results.getvalue()
    told = Recovered(stack="s", action="restore", rollback=report.as_json()).as_json()
    assert told["rollback"]["runAgain"] == ["Job migrate: it is not there any more"]
    assert told["rollback"]["podsReplaced"] == ["pod db-1"]
    assert Recovered(stack="s", action="nothing").as_json()["rollback"] is None
