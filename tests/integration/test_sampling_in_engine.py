"""What takes samples, in the real engine: its secrets in the state, and rules that change."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import Project

pytestmark = pytest.mark.integration
SECRETS = {
    "samplingSource": "postgresql://reader:hunter4-of-a-test@db.example.com/shop",
    "samplingKey": "a-key-that-only-tests-have-of-32-characters",
    "samplingCredentials": "AKIAOFATEST:store-key-of-a-test",
}
GROUP = {
    "image": f"registry.example.com/aegis-data@sha256:{'a' * 64}",
    "to": "s3://data-sets/shop?region=eu-west-1",
    "rules": "rules.yaml",
}


@pytest.mark.parametrize("project", ["production"], indirect=True)
def test_no_secret_is_in_the_state_and_new_rules_are_the_next_run_s(project: Project) -> None:
    rules = project.directory / "rules.yaml"
    rules.write_text("sample: {percent: 10}\n")
    project.set("aegis:sampling", json.dumps(GROUP))
    for name, value in SECRETS.items():
        project.set(f"aegis:{name}", value, "--secret")
    done = project.up()
    assert done.code == 0, done.text
    (job,) = [it for it in project.state() if it["type"].endswith(":CronJob")]
    exported = project.expect("stack", "export", "--stack", project.stack).text
    for hidden in ("hunter4-of-a-test", SECRETS["samplingKey"], "store-key-of-a-test"):
        assert hidden not in exported + done.text
    project.steps()

    rules.write_text("sample: {percent: 5}\n")
    assert project.up().code == 0
    steps = [it.rpartition("-")[0] if "ConfigMap" in it else it for it in project.steps()]
    assert steps == [
        "create ConfigMap aegis-sampling-config",
        "update CronJob aegis-sampling",
        "delete ConfigMap aegis-sampling-config",
    ]
    (changed,) = [it for it in project.state() if it["type"].endswith(":CronJob")]
    assert changed["urn"] == job["urn"]


@pytest.mark.parametrize("project", ["staging"], indirect=True)
def test_nobody_samples_a_sample(project: Project) -> None:
    project.set("aegis:sampling", json.dumps(GROUP))
    done = project.up()
    assert done.code != 0
    assert "takes samples of real data, and the stack serves sample data" in done.text
    assert project.state() == []
