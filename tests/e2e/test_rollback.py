"""Releases that go wrong, and the way back, while requests never stop.

The tests of this file run in order on one stack. After each of them what runs is the verified
release, to the byte, and not one request was lost.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.comparison import unlike_release
from tests.e2e.stand import Finished, Stand, execute
from tests.e2e.traffic import traffic

NAMESPACE = "aegis-staging"
STACK = ("--stack", "staging")
TOKEN = "a-token-of-the-tests-0123456789"
SHORT = {
    "gate.bakeSeconds": "2",
    "gate.unreadySeconds": "5",
    "minReadySeconds": "1",
    "preStopSeconds": "2",
    "drainSeconds": "5",
    "progressDeadlineSeconds": "60",
}
"""Short timings; 60 s of progress deadline, so that nothing here is found out by waiting for it."""

NEVER_READY = """\
from http.server import BaseHTTPRequestHandler, HTTPServer
class Alive(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/livez' else 503)
        self.end_headers()
HTTPServer(('', 8000), Alive).serve_forever()
"""


def _aegis(at: Stand, *words: str, expect: int) -> Finished:
    done = execute("aegis", *words, *STACK, cwd=at.directory, env=at.environment)
    assert done.code == expect, f"aegis {' '.join(words)}: {done.code}\n{done.output}"
    assert "Traceback" not in done.output
    return done


def _json(at: Stand, *words: str, expect: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_aegis(at, *words, "--json", expect=expect).standard_output)
    return found


def _newest(at: Stand, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _json(at, "history", expect=0)["releases"]
    return found[:count]


def _picture(at: Stand) -> dict[str, Any]:
    """What serves, to the byte: pods' template, configuration, secrets, versions."""
    deployment = at.live("deployment", "aegis-api", NAMESPACE)
    picture: dict[str, Any] = {
        "replicas": deployment["spec"]["replicas"],
        "template": deployment["spec"]["template"],
    }
    for kind in ("configmap", "secret"):
        for name in sorted(at.names(kind, NAMESPACE)):
            if name.startswith("aegis-api-"):
                found = at.live(kind, name, NAMESPACE)
                picture[f"{kind}/{name}"] = (found["data"], found["metadata"].get("labels"))
    return picture


def _pods(at: Stand) -> set[str]:
    return {name for name in at.names("pod", NAMESPACE) if name.startswith("aegis-api-")}


@contextmanager
def _unharmed(at: Stand) -> Iterator[None]:
    """Assert that no request of the block fails and that what served before serves after it."""
    before = _picture(at)
    with traffic(at.address(NAMESPACE)) as seen:
        yield
    assert seen.failures == []
    assert set(seen.answers) == {200}
    assert seen.total > 20
    assert len(seen.versions) == 1
    assert _picture(at) == before


def _image(at: Stand, tag: str, program: str | None = None) -> str:
    """Push an image that is no service under the service's name; return its digest."""
    import docker

    repository = f"{at.environment['AEGIS_REGISTRY']}/aegis"
    base = at.environment["AEGIS_RUNTIME_IMAGE"]
    client = docker.DockerClient(base_url=at.environment["DOCKER_HOST"])
    try:
        if program is None:
            client.images.get(base).tag(repository, tag)
        else:
            recipe = f"FROM {base}\nENTRYPOINT {json.dumps(['python3', '-c', program])}\n"
            client.images.build(
                fileobj=io.BytesIO(recipe.encode()), tag=f"{repository}:{tag}", rm=True
            )
        for line in client.images.push(repository, tag, stream=True, decode=True):
            assert "error" not in line, line
        attributes = client.images.get(f"{repository}:{tag}").attrs
    finally:
        client.close()
    digests = [d for d in attributes["RepoDigests"] if d.startswith(f"{repository}@")]
    return str(digests[0].partition("@")[2])


def test_a_release_that_passes_its_gate_is_verified(at: Stand) -> None:
    if "staging" not in at.stacks:
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
    for key, value in SHORT.items():
        at.pulumi("config", "set", "--path", f"aegis:{key}", value, *STACK)
    at.pulumi("config", "set", "--secret", "aegis:apiToken", TOKEN, *STACK)
    report = _json(at, "deploy", "--yes", "--message", "the good one", expect=0)
    assert report["gate"]["passed"] is True
    assert report["gate"]["figures"]["failed"] == 0
    newest = _newest(at, 1)[0]
    assert (newest["number"], newest["message"]) == (report["release"], "the good one")
    assert newest["verified"] is True
    secrets = [data for name, (data, _) in _configuration(at) if name.startswith("secret/")]
    assert [base64.b64decode(it["AEGIS_API_TOKEN"]).decode() for it in secrets] == [TOKEN]


def _configuration(at: Stand) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in _picture(at).items() if "/" in key]


def test_a_changed_setting_and_secret_roll_out_and_back_by_hand_with_no_request_lost(
    at: Stand,
) -> None:
    good = _newest(at, 1)[0]["number"]
    before = _picture(at)
    at.configure("staging", "logLevel", "warning")
    at.pulumi("config", "set", "--secret", "aegis:apiToken", f"{TOKEN}-rotated", *STACK)
    with traffic(at.address(NAMESPACE)) as seen:
        changed = _json(at, "deploy", "--yes", expect=0)
        assert _picture(at) != before
        shown = _aegis(at, "rollback", "--preview", expect=0)
        assert _picture(at) != before, "a preview changes nothing"
        report = _json(at, "rollback", "--yes", expect=0)
    assert seen.failures == []
    assert set(seen.answers) == {200}
    assert _picture(at) == before
    assert unlike_release(at, "staging", good) == []
    assert unlike_release(at, "staging", changed["release"]) != []
    assert "secret" in shown.output.lower()
    assert TOKEN not in shown.output
    assert report["restored"] == good
    back, bad = _newest(at, 2)
    assert (back["restores"], back["verified"], back["current"]) == (good, True, True)
    assert (bad["number"], bad["refused"]) == (changed["release"], True)
    assert at.exported("staging"), "the state is whole"


def test_what_was_rolled_back_is_refused_until_the_settings_are_in_line_with_what_runs(
    at: Stand,
) -> None:
    with _unharmed(at):
        refused = _aegis(at, "deploy", "--yes", expect=3)
        assert "rolled back" in refused.output
        assert "aegis config restore" in refused.output
        restored = _aegis(at, "config", "restore", expect=0)
        assert TOKEN not in restored.output
        assert _json(at, "deploy", "--yes", expect=0)["changed"] is False
    at.pulumi("preview", *STACK, "--expect-no-changes")


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("crashing", "exit code"),
        ("never-ready", "ready"),
        ("missing", "cannot be pulled"),
    ],
)
def test_a_bad_image_is_rolled_back_with_nobody_typing_anything(
    at: Stand, name: str, evidence: str
) -> None:
    good = _newest(at, 1)[0]
    digest = {
        "crashing": lambda: _image(at, "crashing"),
        "never-ready": lambda: _image(at, "never-ready", NEVER_READY),
        "missing": lambda: "sha256:" + "0" * 64,
    }[name]()
    words = ["deploy", "--yes", "--image-digest", digest]
    with _unharmed(at):
        if name == "missing":
            assert "does not have" in _json(at, *words, expect=3)["error"]["why"]
            words.append("--force")
        failed = _json(at, *words, expect=4)
    assert evidence in failed["error"]["why"]
    assert failed["error"]["state"].startswith("rolled back to release")
    assert failed["rollback"]["gate"]["passed"] is True
    back, bad = _newest(at, 2)
    assert (back["restores"], back["verified"]) == (good["restores"] or good["number"], True)
    assert (bad["result"], bad["refused"]) == ("failed", True)
    assert unlike_release(at, "staging", back["restores"]) == []
    assert digest not in (at.directory / "Pulumi.staging.yaml").read_text()
    assert "rolled back" in _aegis(at, *words[:4], expect=3).output
    at.pulumi("preview", *STACK, "--expect-no-changes")


def test_a_setting_that_kills_the_pods_is_rolled_back_although_the_image_is_the_same(
    at: Stand,
) -> None:
    at.configure("staging", "memoryRequest", "8Mi")
    at.configure("staging", "memoryLimit", "16Mi")
    with _unharmed(at):
        failed = _json(at, "deploy", "--yes", expect=4)
    assert "aegis-api" in failed["error"]["why"]
    assert unlike_release(at, "staging", _newest(at, 1)[0]["restores"]) == []
    _aegis(at, "config", "restore", expect=0)
    assert "memoryLimit" not in (at.directory / "Pulumi.staging.yaml").read_text()
    at.pulumi("preview", *STACK, "--expect-no-changes")


def test_a_release_that_cannot_be_restored_is_refused_with_the_reason(at: Stand) -> None:
    bad = next(it for it in _newest(at, 20) if it["result"] == "failed")
    with _unharmed(at):
        pods = _pods(at)
        assert "9999" in _aegis(at, "rollback", "--to", "9999", "--yes", expect=3).output
        number = str(bad["number"])
        assert "failed" in _aegis(at, "rollback", "--to", number, "--yes", expect=3).output
        nothing = _aegis(at, "rollback", "--yes", expect=3)
        assert "no earlier release" in nothing.output, "the verified release is the first one"
        assert _pods(at) == pods


def test_status_tells_what_runs_and_what_somebody_changed_by_hand(at: Stand) -> None:
    said = _json(at, "status", expect=0)
    assert said["drift"] == {"drifted": False, "found": [], "unknown": ""}
    assert said["holders"] == []
    (live,) = said["workloads"]
    assert [(it["new"], it["ready"]) for it in live["pods"]] == [(True, True)] * 2
    deployment = ("--namespace", NAMESPACE, "scale", "deployment/aegis-api")
    at.kubectl(*deployment, "--replicas=1")
    shown = _aegis(at, "status", expect=0)
    assert "Deployment aegis-api is not as it was declared: spec.replicas" in shown.output
    assert "not looked for" in _aegis(at, "status", "--no-drift", expect=0).output
    at.kubectl(*deployment, "--replicas=2")


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


def test_a_plain_update_without_a_gate_is_not_verified_and_rollback_says_so(at: Stand) -> None:
    path = at.directory / "Pulumi.staging.yaml"
    with_gate = path.read_text()
    at.pulumi("config", "rm", "aegis:gate", *STACK)
    at.up("staging")
    plain = _newest(at, 1)[0]
    assert (plain["result"], plain["verified"]) == ("succeeded", False)
    path.write_text(with_gate)
    assert _json(at, "deploy", "--yes", expect=0)["gate"]["passed"] is True
    number = str(plain["number"])
    shown = _aegis(at, "rollback", "--to", number, "--preview", expect=0)
    assert "NOT verified by a gate" in shown.output
    assert f"release {number}" in shown.output


def test_the_stack_can_be_destroyed_after_all_that(at: Stand) -> None:
    at.pulumi("destroy", *STACK, "--yes", "--skip-preview")
    assert at.exported("staging") == []
    assert at.kubectl("get", "namespace", NAMESPACE, expect=None).code != 0
