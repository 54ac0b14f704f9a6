"""The main job on a real cluster: up, nothing to do, change, promote, a bad release, destroy.

The tests of this file run in order on one stack, as a team's days do.
"""

from __future__ import annotations

import json
from typing import Any

from tests.e2e import plain_http
from tests.e2e.releases import push
from tests.e2e.stand import Stand
from tests.e2e.traffic import traffic
from tests.series import every

PROJECT = "deploys"
NAMESPACE, PRODUCTION = f"{PROJECT}-staging", f"{PROJECT}-production"


def _deployment(at: Stand, namespace: str = NAMESPACE) -> dict[str, Any]:
    return at.live("deployment", "aegis-api", namespace)


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def _contains(live: Any, declared: Any) -> bool:
    """Return whether all that was declared is live; the cluster may have added defaults."""
    if isinstance(declared, dict):
        return isinstance(live, dict) and all(
            key in live and _contains(live[key], value) for key, value in declared.items()
        )
    if isinstance(declared, list):
        return (
            isinstance(live, list)
            and len(live) == len(declared)
            and all(_contains(a, b) for a, b in zip(live, declared, strict=True))
        )
    return bool(live == declared)


def test_staging_is_deployed_at_half_of_productions_size(at: Stand) -> None:
    at.up("staging")
    outputs = at.outputs("staging")
    deployment = _deployment(at)
    assert outputs["namespace"] == NAMESPACE
    assert outputs["replicas"] == deployment["status"]["readyReplicas"] == 2
    assert outputs["serviceUrl"] == f"http://aegis-api.{NAMESPACE}.svc.cluster.local"
    assert _container(deployment)["image"].endswith(f"@{outputs['imageDigest']}")


def test_the_service_answers_as_what_was_deployed(at: Stand) -> None:
    answer = plain_http.get(f"{at.address(NAMESPACE)}/version").json()
    assert answer["environment"] == "staging"
    assert answer["dataProfile"] == "sample"
    assert answer["gitSha"] == at.environment["AEGIS_GIT_SHA"]
    assert answer["version"] == at.outputs("staging")["version"]


def test_a_pod_compiles_nothing_as_it_starts(at: Stand) -> None:
    # It cannot keep what it compiled, so that each would do it anew.
    asked = (
        "import os, sys, app.__main__, app.server, app.service, app.migrate, app.database.records;"
        "print([it.__file__ for it in list(sys.modules.values()) if getattr(it, '__cached__', None)"
        " and not os.path.exists(it.__cached__)])"
    )
    where = ("--namespace", NAMESPACE, "exec", "deployment/aegis-api", "--")
    assert at.kubectl(*where, "python3", "-c", asked).standard_output == "[]\n"


def test_every_object_declared_is_live_in_the_cluster(at: Stand) -> None:
    compared = 0
    for resource in at.exported("staging"):
        kind = resource["type"]
        if not kind.startswith("kubernetes:") or kind.endswith(":Secret"):
            continue
        declared = resource["inputs"]
        metadata = declared["metadata"]
        api_version = declared["apiVersion"]
        group = api_version.partition("/")[0] if "/" in api_version else ""
        name = f"{declared['kind']}.{api_version.rpartition('/')[2]}.{group}"
        live = at.live(name, metadata["name"], metadata.get("namespace"))
        # The provider's own marks are not the object's.
        declared = json.loads(json.dumps(declared))
        if "quota" not in name.lower():
            assert _contains(live, declared), f"{name} {metadata['name']}: {declared}\n{live}"
        compared += 1
    assert compared >= 8


def test_the_namespace_admits_only_restricted_pods(at: Stand) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "on-the-host", "namespace": NAMESPACE},
        "spec": {"hostNetwork": True, "containers": [{"name": "a", "image": "a"}]},
    }
    path = at.directory / "pod.json"
    path.write_text(json.dumps(pod))
    refused = at.kubectl("create", "--filename", str(path), expect=None)
    assert refused.code != 0
    assert "violates PodSecurity" in refused.output


def test_a_preview_with_nothing_changed_says_so(at: Stand) -> None:
    shown = at.pulumi("preview", "--stack", "staging", "--expect-no-changes")
    assert "unchanged" in shown.output


def test_a_second_up_changes_nothing(at: Stand) -> None:
    before = _deployment(at)["metadata"]["resourceVersion"]
    shown = at.up("staging")
    assert "unchanged" in shown.output
    assert "updated" not in shown.output
    assert _deployment(at)["metadata"]["resourceVersion"] == before


def test_a_changed_setting_and_secret_roll_out_with_no_request_lost(at: Stand) -> None:
    before, token = at.names("configmap", NAMESPACE), "a-token-of-the-tests-0123456789"
    at.pulumi("config", "set", f"{PROJECT}:logLevel", "warning", "--stack", "staging")
    command = ("config", "set", "--secret", f"{PROJECT}:apiToken", token, "--stack", "staging")
    at.pulumi(*command)
    url = at.address(NAMESPACE)
    with traffic(url) as seen:
        shown = at.up("staging")
    assert seen.failures == []
    assert set(seen.answers) == {200}
    assert seen.total > 20
    after = at.names("configmap", NAMESPACE)
    ours = {name for name in after - before if name.startswith("aegis-api-config-")}
    assert len(ours) == 1, "the new configuration has a name of its own"
    assert not any(name.startswith("aegis-api-config-") for name in before & after)
    live = at.live("configmap", ours.pop(), NAMESPACE)
    assert live["immutable"] is True
    assert live["data"]["AEGIS_LOG_LEVEL"] == "warning"
    # The secret reaches the service, and stays out of what is printed.
    assert token not in shown.output
    assert plain_http.get(f"{url}/v1/records").status_code == 401
    allowed = {"Authorization": f"Bearer {token}"}
    assert plain_http.get(f"{url}/v1/records", headers=allowed).status_code != 401
    assert token not in json.dumps(at.exported("staging"))
    at.pulumi("preview", "--stack", "staging", "--expect-no-changes")


def test_production_takes_stagings_image_by_digest_and_builds_nothing(at: Stand) -> None:
    digest = at.outputs("staging")["imageDigest"]
    at.pulumi("stack", "init", "production")
    at.stacks.append("production")
    at.configure("production", "imageDigest", digest)
    at.up("production")
    outputs = at.outputs("production")
    assert outputs["imageDigest"] == digest
    assert outputs["replicas"] == 2 * at.outputs("staging")["replicas"]
    assert not [r for r in at.exported("production") if r["type"].startswith("docker:")]
    answer = plain_http.get(f"{at.address(PRODUCTION)}/version").json()
    assert answer["gitSha"] == at.environment["AEGIS_GIT_SHA"]


@every
def test_a_new_commit_rolls_out_with_no_request_lost(at: Stand) -> None:
    commit = "f" * 40
    with traffic(at.address(NAMESPACE)) as seen:
        at.up("staging", AEGIS_GIT_SHA=commit)
    assert seen.failures == []
    assert seen.versions == [at.environment["AEGIS_GIT_SHA"], commit]


def test_a_release_that_crashes_fails_the_update_while_the_old_one_serves(at: Stand) -> None:
    # Python alone, without the service: its container ends at once.
    base = at.environment["AEGIS_RUNTIME_IMAGE"]
    pulled = at.pulumi("stack", "output", "imageDigest", "--stack", "production")
    good = pulled.standard_output.strip()
    crashing = push(at.environment, base, "crashing")
    at.configure("production", "imageDigest", crashing)
    at.configure("production", "progressDeadlineSeconds", "20")
    with traffic(at.address(PRODUCTION)) as seen:
        shown = at.up("production", expect=None)
    assert shown.code != 0
    assert seen.failures == []
    assert set(seen.answers) == {200}
    assert len(seen.versions) == 1, "no pod of the bad release served"
    assert "production failed its gate" in shown.output
    assert "container aegis-api of pod aegis-api-" in shown.output
    assert "ended with exit code" in shown.output, "the update says what is wrong with the pods"
    assert "the release before still serves, 4 ready pods" in shown.output
    at.configure("production", "imageDigest", good)
    at.up("production")
    deployment = _deployment(at, PRODUCTION)
    assert deployment["status"]["readyReplicas"] == deployment["status"]["replicas"] == 4


def test_destroy_leaves_nothing(at: Stand) -> None:
    for stack, namespace in (("staging", NAMESPACE), ("production", PRODUCTION)):
        at.pulumi("destroy", "--stack", stack, "--yes", "--skip-preview")
        assert at.exported(stack) == []
        assert not at.is_there("namespace", namespace)
