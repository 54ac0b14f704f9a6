"""The pipeline's own steps on the lab: pushes, good and bad, a pull request, drift.

A run is played as GitHub would: the jobs that the event starts, in the workflow's order. The tests
of this file run in order on one backend.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import ANY

import pytest

from tests.e2e.github_server import GitHubServer
from tests.e2e.pipeline_stand import (
    KUBECONFIG_READ,
    LEFT_OUT,
    SHA,
    TO_DEVELOP,
    TO_MAIN,
    aegis,
    built,
    image,
    passed,
    pipeline_stand,
    pull_request,
    reader,
    results,
    runner,
)
from tests.e2e.release_history import current
from tests.e2e.releases import push_release
from tests.e2e.stand import Stand
from tests.e2e.traffic import traffic
from tests.series import every

TOKEN = "a-token-of-the-tests-0123456789"
BAD_PUSH = {"test": "success", "build": "success", "recover": "success"}
NOBODY = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The program with its stacks, on a backend of its own."""
    with pipeline_stand(tmp_path_factory.mktemp("pipeline")) as it:
        it.pulumi("config", "set", "--secret", "aegis:apiToken", TOKEN, "--stack", "staging")
        # In a hurry.
        project, production = (
            it.directory / name for name in ("Pulumi.yaml", "Pulumi.production.yaml")
        )
        hurry = "config:\n  aegis:minReadySeconds: 1\n  aegis:preStopSeconds: 2\n"
        text = project.read_text().replace("productionReplicas: 4", "productionReplicas: 3")
        project.write_text(text.replace("config:\n", hurry))
        production.write_text(production.read_text().replace("canary: 5", "canary: 1"))
        yield it


@pytest.fixture(scope="module")
def read_only(shop: Stand) -> Iterator[dict[str, str]]:
    """The account that may only read; its namespaces are there by the time it is asked for."""
    with reader(shop) as kubeconfig:
        yield {KUBECONFIG_READ: kubeconfig}


@contextmanager
def edited(shop: Stand, path: Path, before: str, after: str) -> Iterator[None]:
    """Change a file of the program while the block runs."""
    source = (shop.directory / path).read_text()
    assert before in source
    (shop.directory / path).write_text(source.replace(before, after, 1))
    try:
        yield
    finally:
        (shop.directory / path).write_text(source)


@every
def test_main_refuses_what_staging_has_not_verified(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    played = runner(shop, github, "ci-cd.yaml", TO_MAIN).play(tmp_path, built(NOBODY))
    assert results(played) == BAD_PUSH | {"deploy-production": "failure"}
    assert "nothing is deployed there" in played["deploy-production"].ran["Deploy to production"]
    assert not shop.is_there("namespace", "aegis-production")


def test_a_push_to_develop_builds_once_and_verifies_on_staging(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    push = runner(shop, github, "ci-cd.yaml", TO_DEVELOP, skipped=LEFT_OUT)
    played = push.play(tmp_path)
    passed(played["deploy-staging"])
    assert results(played) == dict.fromkeys(("test", "build", "deploy-staging"), "success")
    deployed = played["deploy-staging"]
    release = current(shop, "staging")
    assert deployed.summary.startswith(f"### ✅ staging: release {release['number']}: verified")
    pages = [(shop.directory / name).read_text() for name in ("release.html", "history.html")]
    assert "<svg" in pages[0]
    assert "change failure rate" in pages[1]
    assert release["verified"]
    assert release["imageDigest"] == played["build"].outputs["digest"]
    assert release["imageDigest"].startswith("sha256:")
    assert release["message"] == f"pipeline: {SHA}"


def test_a_bad_push_to_develop_is_rolled_back_and_leaves_nothing_to_recover(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    good = image(shop, "staging")
    bad = push_release(shop.environment, good.partition("@")[2], "2.0.0", "crash")
    played = runner(shop, github, "ci-cd.yaml", TO_DEVELOP).play(tmp_path, built(bad))
    assert results(played) == BAD_PUSH | {"deploy-staging": "failure"}
    said = played["deploy-staging"].ran["Deploy to staging"]
    assert "no such host: db" in said
    assert "rolled back to release" in said
    assert "staging is in order" in played["recover"].ran["Recover"]
    assert image(shop, "staging") == good
    assert current(shop, "staging")["verified"]


def test_a_push_to_main_gives_production_the_image_that_staging_verified(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    played = runner(shop, github, "ci-cd.yaml", TO_MAIN).play(tmp_path)
    done = passed(played["deploy-production"])
    assert results(played) == dict.fromkeys(("test", "build", "deploy-production"), "success")
    release, verified = current(shop, "production"), current(shop, "staging")
    assert release["verified"]
    assert release["imageDigest"] == verified["imageDigest"]
    assert image(shop, "production") == image(shop, "staging")
    said = done.ran["Deploy to production"]
    assert "setting   aegis:scale: 0.5 in staging, 1 in production" in said
    assert "(not set) in production" in said
    assert TOKEN not in said


@every
def test_a_deploy_whose_runner_dies_is_recovered_by_the_next_job(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    good = image(shop, "staging")
    moment = {"Deploy to staging": lambda: image(shop, "staging") != good}
    other = push_release(shop.environment, good.partition("@")[2], "2.0.1")
    push = runner(shop, github, "ci-cd.yaml", TO_DEVELOP, dies_at=moment)
    played = push.play(tmp_path, built(other))
    assert results(played) == BAD_PUSH | {"deploy-staging": "failure"}
    said = played["recover"].ran["Recover"]
    assert "staging is back at what release" in said, said
    assert image(shop, "staging") == good
    assert current(shop, "staging")["imageDigest"] in good


@every
def test_an_image_that_production_insists_on_and_does_not_bear_is_rolled_back(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    good = image(shop, "production")
    values = {**TO_MAIN, "vars.AEGIS_UNVERIFIED": "yes"}
    # The gate asks for what nobody answers.
    gate = "    path: /nowhere\n    versionCheck: false"
    other = push_release(shop.environment, good.partition("@")[2], "2.0.2")
    with edited(shop, Path("Pulumi.production.yaml"), "    canary: 1", gate):
        played = runner(shop, github, "ci-cd.yaml", values).play(tmp_path, built(other))
    assert results(played) == BAD_PUSH | {"deploy-production": "failure"}
    said = played["deploy-production"].ran["Deploy to production"]
    assert f"{other} was never verified in staging" in said
    assert "answered 404" in said or "404" in said
    assert "rolled back to release" in said
    assert image(shop, "production") == good


def test_a_pull_request_gets_one_comment_that_is_edited_in_place(
    shop: Stand, github: GitHubServer, read_only: dict[str, str], tmp_path: Path
) -> None:
    pull = runner(shop, github, "ci-cd.yaml", {**pull_request(7), **read_only})
    name, kept = '"app.kubernetes.io/name"', "max_unavailable=0"
    for label, fewer in ((name, kept), ('"selected-by"', "max_unavailable=1")):
        with (
            edited(shop, Path("components", "labels.py"), name, label),
            edited(shop, Path("components", "rollout.py"), kept, fewer),
        ):
            played = pull.play(tmp_path)
        # development has no stack on this backend: that is said, and fails the check.
        assert results(played) == {
            "test": "success",
            "compat": "success",
            "data-check": "success",
            "preview": "failure",
        }
        done = played["preview"]
        assert done.failed == "Fail when a stack cannot be deployed like this"
    [comment] = github.comments
    assert done.summary == comment["body"]
    body = comment["body"]
    assert "**development** could not be previewed" in body
    broken = body.index("**staging** is refused by policy")
    assert body.index("<code>rolling-update</code>") > broken
    downtime = body.index("**downtime** <code>Deployment aegis-api</code>: replaced")
    assert broken < downtime < body.index("| staging |") < body.index("<details>")


def test_a_fork_without_secrets_is_told_what_could_not_be_done(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    before = len(github.comments)
    pull = runner(shop, github, "ci-cd.yaml", pull_request(8, owner="somebody"))
    pull.values = {k: v for k, v in pull.values.items() if not k.startswith("secrets.")}
    # A runner has no credentials of a person's.
    pull.environment = {**pull.environment, "PULUMI_HOME": str(tmp_path / "home")}
    done = passed(pull.play(tmp_path)["preview"])
    assert done.summary.count("could not be previewed") == 3
    assert len(github.comments) == before


@every
def test_drift_is_told_field_by_field_and_put_back_with_no_request_lost(
    shop: Stand, github: GitHubServer, read_only: dict[str, str], tmp_path: Path
) -> None:
    daily = runner(shop, github, "drift.yaml", {"matrix.stack": "staging", **read_only})
    quiet = passed(daily.run("drift", tmp_path))
    assert "no drift" in quiet.summary
    assert "not compared, for it may not be read: <code>Secret" in quiet.summary
    assert github.issues == []
    good = image(shop, "staging")
    other = push_release(shop.environment, good.partition("@")[2], "9.9.9")
    in_staging = ("--namespace", "aegis-staging")
    with traffic(shop.address("aegis-staging"), watched="version") as seen:
        by_hand = good.partition("@")[0] + f"@{other}"
        for words in (
            ("set", "image", "deployment/aegis-api", f"aegis-api={by_hand}"),
            ("set", "env", "deployment/aegis-api", "HAND=made"),
            ("scale", "deployment/aegis-api", "--replicas=3"),
            ("delete", "poddisruptionbudget", "aegis-api"),
            ("label", "service/aegis-api", "who=me"),
            ("rollout", "status", "deployment/aegis-api", "--timeout=180s"),
        ):
            shop.kubectl(*in_staging, *words)
        found = json.loads(aegis(shop, "drift", "--stack", "staging", "--json").standard_output)
        for _ in range(2):
            passed(daily.run("drift", tmp_path))
        fixed = aegis(shop, "drift", "--fix", "--yes", "--stack", "staging")
        assert fixed.code == 0, fixed.output
    assert (seen.failures, set(seen.answers)) == ([], {200})
    assert "9.9.9" in seen.versions
    fields = {it["path"]: it for item in found["objects"] for it in item["fields"]}
    containers = "spec.template.spec.containers[aegis-api]"
    by = {path: (it["change"], it["live"], it["by"]) for path, it in fields.items()}
    assert by == {
        f"{containers}.image": ("changed", by_hand, "kubectl-set"),
        f"{containers}.env[HAND]": ("added", ANY, "kubectl-set"),
        "spec.replicas": ("changed", "3", "kubectl"),
        "metadata.labels.who": ("added", "me", "kubectl-label"),
    }
    # The API server notes no time for `kubectl scale`.
    assert {path for path, it in fields.items() if not it["at"]} <= {"spec.replicas"}
    assert [it["kind"] for it in found["objects"] if it["gone"]] == ["PodDisruptionBudget"]
    [issue] = github.issues
    assert "kubectl\\-set" in issue["body"]
    passed(daily.run("drift", tmp_path))
    assert github.issues[0]["state"] == "closed"
    assert image(shop, "staging") == good
    assert shop.live("deployment", "aegis-api", "aegis-staging")["spec"]["replicas"] == 2
    assert "aegis-api" in shop.names("poddisruptionbudget", "aegis-staging")
