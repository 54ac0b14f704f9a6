"""Releases that go well and that go wrong, and the way back, while requests never stop.

The tests of this file run in order on one stack. After each of them what runs is the verified
release, to the byte, and not one request was lost.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import plain_http
from tests.e2e.browser import Browser, browser
from tests.e2e.comparison import unlike_release
from tests.e2e.release_history import releases
from tests.e2e.release_pages import SAID, require_history, require_release
from tests.e2e.releases import REFUSED_LOG_LEVEL, push_release
from tests.e2e.stand import Finished, Stand, execute
from tests.e2e.traffic import Seen, traffic
from tests.series import every

PROJECT = "rollbacks"
NAMESPACE = f"{PROJECT}-staging"
STACK = ("--stack", "staging")
TOKEN = "a-token-of-the-tests-0123456789"
ROTATED = f"{TOKEN}-rotated"
GOOD, BAD = "1.0.0", "2.0.0"
SHORT = {
    "minReadySeconds": 1,
    "preStopSeconds": 2,
    "drainSeconds": 5,
    "progressDeadlineSeconds": 600,
}
"""Short timings, but for the progress deadline: nothing here is found out by waiting for it."""
GATE = {"bakeSeconds": 2, "unreadySeconds": 300, "p99Ms": 60_000, "probeRate": 20}
"""How soon a busy machine starts a pod and answers is asked only of those that are bad at it."""


def _aegis(at: Stand, *words: str, expect: int) -> Finished:
    done = execute("aegis", *words, *STACK, cwd=at.directory, env=at.environment)
    assert done.code == expect, f"aegis {' '.join(words)}: {done.code}\n{done.output}"
    assert "Traceback" not in done.output
    assert TOKEN not in done.output
    return done


def _json(at: Stand, *words: str, expect: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_aegis(at, *words, "--json", expect=expect).standard_output)
    return found


def _newest(at: Stand, count: int) -> list[dict[str, Any]]:
    return releases(at, "staging")[:count]


def _change(at: Stand, settings: Mapping[str, object], gate: Mapping[str, object]) -> None:
    """Edit the stack's file, as a person does."""
    path = at.directory / "Pulumi.staging.yaml"
    content = yaml.safe_load(path.read_text())
    config = content["config"]
    config.update({f"{PROJECT}:{key}": value for key, value in settings.items()})
    config[f"{PROJECT}:gate"] = {**config.get(f"{PROJECT}:gate", {}), **gate}
    path.write_text(yaml.safe_dump(content))


def _picture(at: Stand) -> dict[str, Any]:
    """What serves, to the byte: pods' template, configuration, secrets."""
    deployment = at.live("deployment", "aegis-api", NAMESPACE)
    picture: dict[str, Any] = {
        "replicas": deployment["spec"]["replicas"],
        "template": deployment["spec"]["template"],
    }
    for kind in ("configmap", "secret"):
        for found in at.cluster.objects(kind, NAMESPACE):
            name = found["metadata"]["name"]
            if name.startswith("aegis-api-"):
                picture[f"{kind}/{name}"] = (found["data"], found["metadata"].get("labels"))
    return picture


def _pods(at: Stand) -> set[str]:
    """The service's pods, without those that are ending."""
    found = (it["metadata"] for it in at.cluster.objects("pods", NAMESPACE))
    return {it["name"] for it in found if "deletionTimestamp" not in it}


def _version(at: Stand) -> str:
    answer = plain_http.get(f"{at.address(NAMESPACE)}/version")
    return str(answer.json()["version"])


def _token(at: Stand) -> str:
    data = [it for name, it in _picture(at).items() if name.startswith("secret/")]
    return base64.b64decode(data[0][0]["AEGIS_API_TOKEN"]).decode()


@contextmanager
def _loaded(at: Stand) -> Iterator[Seen]:
    """Send requests of every kind while the block runs; each must be answered."""
    with traffic(at.address(NAMESPACE), watched="version", slow=True) as seen:
        yield seen
    assert seen.failures == []
    assert {it.stream for it in seen.requests} == {"new", "kept", "strict", "slow"}


@contextmanager
def _unharmed(at: Stand) -> Iterator[None]:
    """Assert that no request of the block fails and that what served before serves after it."""
    before = _picture(at)
    with _loaded(at) as seen:
        yield
    assert set(seen.answers) == {200}
    assert seen.versions == [GOOD]
    assert _picture(at) == before


@pytest.fixture(scope="module")
def built(at: Stand) -> str:
    """The digest of the service's image, as the program built it for the first release."""
    return str(at.outputs("staging")["imageDigest"])


def test_a_release_that_passes_its_gate_is_verified(at: Stand) -> None:
    if "staging" not in at.stacks:
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
    _change(at, {**SHORT, "scale": "0.25"}, GATE)
    at.pulumi("config", "set", "--secret", f"{PROJECT}:apiToken", TOKEN, *STACK)
    report = _json(at, "deploy", "--yes", "--message", "the first one", expect=0)
    assert report["gate"]["passed"] is True
    assert report["gate"]["figures"]["failed"] == 0
    newest = _newest(at, 1)[0]
    assert (newest["number"], newest["message"]) == (report["release"], "the first one")
    assert newest["verified"] is True
    assert _token(at) == TOKEN


def test_a_new_image_and_a_larger_size_lose_no_request(at: Stand, built: str) -> None:
    digest = push_release(at.environment, built, GOOD)
    _change(at, {"imageDigest": digest, "version": GOOD, "scale": "0.5"}, {})
    # The image before has no slow answers.
    with traffic(at.address(NAMESPACE), watched="version") as seen:
        report = _json(at, "deploy", "--yes", expect=0)
    assert (seen.failures, set(seen.answers)) == ([], {200})
    assert (seen.versions[-1], _version(at), report["version"]) == (GOOD, GOOD, GOOD)
    assert at.live("deployment", "aegis-api", NAMESPACE)["status"]["readyReplicas"] == 2
    assert unlike_release(at, "staging", report["release"]) == []


@every
@pytest.mark.parametrize(
    ("change", "replicas"),
    [
        pytest.param({"scale": "0.75"}, 3, id="up"),
        pytest.param({"scale": "0.5", "logLevel": "warning"}, 2, id="down-and-a-setting"),
    ],
)
def test_scaling_loses_no_request(at: Stand, change: dict[str, object], replicas: int) -> None:
    _change(at, change, {})
    with _loaded(at) as seen:
        report = _json(at, "deploy", "--yes", expect=0)
    assert (set(seen.answers), seen.versions) == ({200}, [GOOD])
    assert at.live("deployment", "aegis-api", NAMESPACE)["status"]["readyReplicas"] == replicas
    assert unlike_release(at, "staging", report["release"]) == []


def test_a_changed_setting_and_secret_roll_out_and_back_by_hand_with_no_request_lost(
    at: Stand,
) -> None:
    good = _newest(at, 1)[0]["number"]
    before = _picture(at)
    _change(at, {"logLevel": "error"}, {})
    at.pulumi("config", "set", "--secret", f"{PROJECT}:apiToken", ROTATED, *STACK)
    with _loaded(at) as seen:
        changed = _json(at, "deploy", "--yes", expect=0)
        assert _token(at) == ROTATED
        shown = _aegis(at, "rollback", "--preview", expect=0)
        assert _token(at) == ROTATED, "a preview changes nothing"
        report = _json(at, "rollback", "--yes", expect=0)
    assert (set(seen.answers), seen.versions) == ({200}, [GOOD])
    assert _picture(at) == before
    assert unlike_release(at, "staging", good) == []
    assert unlike_release(at, "staging", changed["release"]) != []
    assert "secret" in shown.output.lower()
    assert report["restored"] == good
    back, bad = _newest(at, 2)
    assert (back["restores"], back["verified"], back["current"]) == (good, True, True)
    assert (bad["number"], bad["refused"]) == (changed["release"], True)


def test_what_was_rolled_back_is_refused_until_the_settings_are_in_line_with_what_runs(
    at: Stand,
) -> None:
    with _unharmed(at):
        refused = _aegis(at, "deploy", "--yes", expect=3)
        assert "rolled back" in refused.output
        assert "aegis config restore" in refused.output
        _aegis(at, "config", "restore", expect=0)
        assert _json(at, "deploy", "--yes", expect=0)["changed"] is False
    at.pulumi("preview", *STACK, "--expect-no-changes")


@dataclass(frozen=True)
class Bad:
    """A release that goes wrong.

    Attributes:
        name: Which.
        evidence: What the error must say.
        fault: What is wrong with its image; None means there is none to pull.
        says: The version its image names.
        settings: What else it changes.
        gate: What it changes of the gate.
        serves: Whether some of its pods get ready, and so are sent requests.
        fails: Whether it answers some of them with an error.
        everywhere: Whether `make test` has it, too; else `make faults` does, and `test_gate.py` has
            what the gate says of it.
    """

    name: str
    evidence: str
    fault: str | None = ""
    says: str = BAD
    settings: dict[str, object] = field(default_factory=dict)
    gate: dict[str, object] = field(default_factory=dict)
    serves: bool = False
    fails: bool = False
    everywhere: bool = False


RELEASES = [
    Bad("crashing", "no such host: db", fault="crash", everywhere=True),
    Bad("never-ready", "not become ready", fault="unready", gate={"unreadySeconds": 5}),
    Bad("missing", "cannot be pulled", fault=None),
    Bad("out-of-memory", "more memory than its limit", fault="memory"),
    Bad(
        "bad-settings",
        "no place for debug logs",
        settings={"logLevel": REFUSED_LOG_LEVEL},
        everywhere=True,
    ),
    Bad("wrong-version", f"{BAD} was deployed", says="1.9.0", serves=True),
    Bad("slow", "longer than 1000 ms", fault="late", gate={"p99Ms": 1000}, serves=True),
    Bad("errors", "500", fault="errors", serves=True, fails=True, everywhere=True),
    Bad(
        "errors-canary",
        "while new pods were probed one by one",
        fault="errors",
        settings={"logLevel": "info"},
        gate={"canary": 60},
        serves=True,
        fails=True,
        everywhere=True,
    ),
]


@pytest.mark.parametrize(
    "bad",
    [pytest.param(it, id=it.name, marks=() if it.everywhere else every) for it in RELEASES],
)
def test_a_bad_release_is_rolled_back_with_nobody_typing_anything(
    at: Stand, built: str, bad: Bad
) -> None:
    good, before, pods = _newest(at, 1)[0], _picture(at), _pods(at)
    file = at.directory / "Pulumi.staging.yaml"
    kept = file.read_bytes()
    digest = f"sha256:{'0' * 64}"
    if bad.fault is not None:
        digest = push_release(at.environment, built, bad.says, bad.fault)
    _change(at, {"imageDigest": digest, "version": BAD, **bad.settings}, bad.gate)
    words = ("deploy", "--yes", *(("--force",) if bad.fault is None else ()))
    with _loaded(at) as seen:
        failed = _json(at, *words, expect=4)
    file.write_bytes(kept)
    exposure = f"{bad.name}: {seen.answers[500]} errors in {seen.total} requests"
    print(exposure)  # noqa: T201 - the figure of the ready-but-failing releases, by `pytest -s`

    assert bad.evidence in failed["error"]["why"]
    assert "hook" not in failed["error"]["why"], "the engine's words are not the reason"
    assert failed["error"]["state"].startswith("rolled back to release")
    assert failed["rollback"]["gate"]["passed"] is True
    assert _picture(at) == before
    assert _version(at) == GOOD
    assert _token(at) == TOKEN
    number = good["restores"] or good["number"]
    assert unlike_release(at, "staging", number) == []

    allowed = {GOOD, bad.says} if bad.serves else {GOOD}
    assert set(seen.versions) <= allowed
    assert set(seen.answers) <= ({200, 500} if bad.fails else {200})
    assert {it.version for it in seen.requests if it.status == 500} <= {bad.says, ""}
    if not bad.serves or "canary" in bad.gate:
        assert pods <= _pods(at), "no pod of the good release was ended"

    back, was = _newest(at, 2)
    assert (back["restores"], back["verified"], back["current"]) == (number, True, True)
    assert back["message"].startswith(f"aegis: automated rollback to release {number}: ")
    assert (was["refused"], was["verified"]) == (True, False)


@every
def test_a_missing_image_is_refused_before_anything_is_changed(at: Stand) -> None:
    file = at.directory / "Pulumi.staging.yaml"
    kept = file.read_bytes()
    with _unharmed(at):
        digest = f"sha256:{'1' * 64}"
        refused = _json(at, "deploy", "--yes", "--image-digest", digest, expect=3)
    assert "does not have" in refused["error"]["why"]
    assert yaml.safe_load(file.read_bytes()) == yaml.safe_load(kept)


def test_a_release_that_cannot_be_restored_is_refused_with_the_reason(at: Stand) -> None:
    bad = next(it for it in _newest(at, 30) if it["result"] == "failed")
    pods = _pods(at)
    assert "9999" in _aegis(at, "rollback", "--to", "9999", "--yes", expect=3).output
    number = str(bad["number"])
    assert "failed" in _aegis(at, "rollback", "--to", number, "--yes", expect=3).output
    assert _pods(at) == pods


def test_status_tells_what_runs_and_what_somebody_changed_by_hand(at: Stand) -> None:
    said = _json(at, "status", expect=0)
    assert said["drift"] == {"drifted": False, "found": [], "unknown": ""}
    assert said["holders"] == []
    (live,) = said["workloads"]
    declared = at.live("deployment", "aegis-api", NAMESPACE)["spec"]["replicas"]
    assert [(it["new"], it["ready"]) for it in live["pods"]] == [(True, True)] * declared
    deployment = ("--namespace", NAMESPACE, "scale", "deployment/aegis-api")
    at.kubectl(*deployment, "--replicas=1")
    shown = _aegis(at, "status", expect=0)
    assert "Deployment aegis-api is not as it was declared: spec.replicas" in shown.output
    assert "not looked for" in _aegis(at, "status", "--no-drift", expect=0).output
    at.kubectl(*deployment, f"--replicas={declared}")


def test_a_plain_update_counts_as_verified_when_its_gate_passed(at: Stand) -> None:
    before = _newest(at, 1)[0]
    at.configure("staging", "logLevel", "error")
    at.up("staging")
    plain = _newest(at, 1)[0]
    assert (plain["result"], plain["verified"]) == ("succeeded", True)
    at.up("staging")
    again = _newest(at, 1)[0]
    assert set(again["changes"]) == {"same"}
    assert again["verified"] is True, "it is the release before it once more"
    report = _json(at, "rollback", "--yes", expect=0)
    assert report["restored"] == (before["restores"] or before["number"])
    warned = at.pulumi("preview", *STACK)
    assert "this release was rolled back before" in warned.output
    found = {it["number"]: it["refused"] for it in _newest(at, 4)}
    assert found[plain["number"]], "what it repeats is the same bad release"
    assert found[again["number"]]
    _aegis(at, "config", "restore", expect=0)
    assert "rolled back before" not in at.pulumi("preview", *STACK).output


@every
def test_a_plain_update_without_a_gate_is_not_verified_and_rollback_says_so(at: Stand) -> None:
    path = at.directory / "Pulumi.staging.yaml"
    with_gate = path.read_text()
    at.configure("staging", "gate", None)
    at.up("staging")
    plain = _newest(at, 1)[0]
    assert (plain["result"], plain["verified"]) == ("succeeded", False)
    path.write_text(with_gate)
    assert _json(at, "deploy", "--yes", expect=0)["gate"]["passed"] is True
    number = str(plain["number"])
    shown = _aegis(at, "rollback", "--to", number, "--preview", expect=0)
    assert "NOT verified by a gate" in shown.output
    assert f"release {number}" in shown.output


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as it:
        yield it


def _report(at: Stand, number: int, page: Path) -> dict[str, Any]:
    told = _json(at, "report", str(number), "--output", str(page), expect=0)
    assert TOKEN not in page.read_text()
    return told


@pytest.mark.parametrize("kind", SAID)
def test_the_page_of_a_release_shows_how_it_went(
    at: Stand, chromium: Browser, kind: str, tmp_path: Path
) -> None:
    # The newest of each kind.
    found: dict[str, int] = {}
    for it in reversed(releases(at, "staging", None)):
        message = str(it["message"])
        if "automated rollback" in message and "ended with exit code" in message:
            found["failed"] = it["rolledBackFrom"]
        elif it["restores"] and "automated" not in message:
            found["by hand"] = it["number"]
        elif message == "the first one":
            found["good"] = it["number"]
    page = tmp_path / "release.html"
    require_release(chromium, page, _report(at, found[kind], page)["timeline"], kind)


def test_a_plain_update_has_the_timeline_of_its_gate(at: Stand, tmp_path: Path) -> None:
    plain = [
        it["number"]
        for it in _json(at, "history", "--all", expect=0)["releases"]
        if it["verified"] and not it["message"].startswith("aegis") and it["changes"].get("update")
    ]
    found = (_report(at, number, tmp_path / "release.html")["timeline"] for number in plain)
    timeline = next(it for it in found if it is not None and it["command"] == "pulumi up")
    assert timeline["judgements"][0]["passed"] is True
    assert timeline["probes"]


def test_the_page_of_the_history_shows_the_four(
    at: Stand, chromium: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "history.html"
    _aegis(at, "history", "--html", "--output", str(page), expect=0)
    require_history(chromium, page)


def test_the_stack_can_be_destroyed_after_all_that(at: Stand) -> None:
    at.pulumi("destroy", *STACK, "--yes", "--skip-preview")
    assert at.exported("staging") == []
    assert not at.is_there("namespace", NAMESPACE)
