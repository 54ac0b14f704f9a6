"""Restoring releases of somebody else's program, compared with what was live, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.model.signatures import SECRET
from tests.e2e import stack_file
from tests.e2e.comparison import unlike_release
from tests.e2e.foreign_stand import STACK, Foreign, foreign
from tests.series import every

_FIRST, _SECOND, _THIRD = "first-password", "second-password", "third-password"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Foreign]:
    """The foreign program, its stack and its namespace."""
    with foreign(tmp_path) as it:
        yield it


def test_a_release_is_restored_exactly_after_a_failed_one_and_after_a_good_one(
    far: Foreign,
) -> None:
    far.up("v1", _FIRST)
    first = far.live()
    far.up("v2", _SECOND)
    second, pods = far.live(), far.pods()
    assert "timed out" in far.up("v3", _THIRD, expect=None)
    assert far.live() != second

    # Back over the failed release. Its replacements left the old autonamed objects pending.
    planned = far.plan(2)
    assert {item.resource.rpartition("-")[0] for item in planned.revivals} == {
        "ConfigMap novelty",
        "ConfigMap web-settings",
        "Secret web-secret",
    }
    assert planned.reruns == ()
    before = far.run("pulumi", "stack", "export", "--stack", STACK)
    assert far.preview(planned).summary == {"same": 13, "update": 3}
    assert far.run("pulumi", "stack", "export", "--stack", STACK) == before
    outcome = far.restore(planned, "restore release 2")
    assert outcome.succeeded, outcome.failures
    assert far.live() == second
    assert unlike_release(far, STACK, 2) == []
    assert unlike_release(far, STACK, 1) != []
    assert far.pods() == pods, "the pods that served all the time were touched"
    far.unchanged("v2", _SECOND)

    # Back over the good one: resources added, removed, renamed, replaced since.
    planned = far.plan(1)
    assert [item.resource.rpartition("-")[0] for item in planned.reruns] == ["Job migrate"]
    assert {item.path for item in planned.secrets} == {
        "data.PASSWORD",
        "data.URL",
        "spec.login.token",
    }
    assert not any(word in repr(planned) for word in (_FIRST, _SECOND, _THIRD))
    outcome = far.restore(planned, "restore release 1")
    assert outcome.succeeded, outcome.failures
    assert far.live() == first
    assert unlike_release(far, STACK, 1) == []
    assert _outputs(far)["login"] == {"user": "web", "password": _FIRST}
    far.unchanged("v1", _FIRST)
    assert SECRET in json.dumps(far.session().export()), "the secrets are secrets in the state"
    history = far.session().store.releases(limit=1)[0]
    assert (history.message, history.succeeded) == ("restore release 1", True)


@every
def test_a_kept_secret_has_its_current_value_wherever_it_occurs(far: Foreign) -> None:
    far.up("v1", _FIRST)
    far.up("v2", _SECOND)
    planned = far.plan(1, keep=("PASSWORD",))
    outcome = far.restore(planned, "restore release 1 with the password of now")
    assert outcome.succeeded, outcome.failures
    # What the first version says, with the second one's password: derived values as well.
    far.unchanged("v1", _SECOND)
    assert _outputs(far)["login"] == {"user": "web", "password": _SECOND}


@every
def test_a_release_is_restored_after_the_deployer_was_killed(far: Foreign) -> None:
    far.up("v1", _FIRST)
    first = far.live()
    pods = far.pods()
    far.choose("v3", _THIRD)
    # It is to be killed while it waits, however late that is.
    stack_file.change(far.directory, STACK, {"patience": "600"})
    session = far.session()
    with subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", STACK],
        cwd=far.directory,
        env=far.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as deployer:
        # What the engine makes beside the rollout has been made by then.
        far.wait_for(
            lambda: far.pods() - pods and _pending(session.export()) == {"updating"},
            "a pod of the broken version, and nothing to wait for but its rollout",
        )
        os.killpg(deployer.pid, signal.SIGKILL)
    far.run("pulumi", "cancel", "--yes", "--stack", STACK)
    state = session.export()
    assert _pending(state) == {"updating"}
    del state["deployment"]["pending_operations"]
    session.import_state(state)
    number = next(item.number for item in session.store.releases() if item.kind == "update")
    outcome = far.restore(far.plan(number), "restore release 1 after a death")
    assert outcome.succeeded, outcome.failures
    assert far.live() == first
    assert unlike_release(far, STACK, number) == []
    assert far.pods() == pods
    far.unchanged("v1", _FIRST)


@every
def test_what_was_deleted_for_its_replacement_is_made_again_and_stays(far: Foreign) -> None:
    far.up("v1", _FIRST)
    first = far.live()
    session = far.session()
    number = session.store.releases(limit=1)[0].number
    # What a deployer leaves that dies between the two halves of a replacement.
    state = session.export()
    (half,) = (it for it in state["deployment"]["resources"] if it["urn"].endswith("::flags"))
    half["pendingReplacement"] = True
    session.import_state(state)
    far.run("kubectl", "--namespace", far.namespace, "delete", "configmap", "features")
    outcome = far.restore(far.plan(number), "restore release 1 after half a replacement")
    assert outcome.succeeded, outcome.failures
    assert far.live() == first
    assert unlike_release(far, STACK, number) == []


def _pending(state: Mapping[str, Any]) -> set[str]:
    return {item["type"] for item in state["deployment"].get("pending_operations", ())}


def _outputs(far: Foreign) -> dict[str, object]:
    shown = far.run("pulumi", "stack", "output", "--json", "--show-secrets", "--stack", STACK)
    outputs: dict[str, object] = json.loads(shown)
    return outputs
