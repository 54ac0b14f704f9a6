"""The pipeline's own steps on the lab: push to develop, to main, a pull request, drift.

The tests of this file run in order on one backend.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.github_server import GitHubServer, serve
from tests.e2e.stand import ROOT, Stand, execute, require_free, stand
from tests.e2e.workflow import Job, Runner

SHA = "5" * 40
LEFT_OUT = frozenset({"Run checks", "Run tests"})
"""The one would take minutes, the other would begin this file once more."""
KUBECONFIG = ("secrets.KUBECONFIG", "secrets.KUBECONFIG_READ")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The program with its three stacks, on a backend of its own."""
    with stand(tmp_path_factory.mktemp("pipeline"), "pipeline-backend") as it:
        # What `make policy` makes; the jobs find it made, or make it.
        if (ROOT / "policy" / ".venv").is_dir():
            (it.directory / "policy" / ".venv").symlink_to(ROOT / "policy" / ".venv")
        for name in ("staging", "production"):
            require_free(it, f"aegis-{name}")
            it.pulumi("stack", "init", name)
            it.stacks.append(name)
        yield it


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubServer]:
    """What the jobs take for GitHub."""
    with serve() as it:
        yield it


def runner(
    shop: Stand,
    github: GitHubServer,
    workflow: str,
    values: Mapping[str, str] | None = None,
    *,
    secrets: bool = True,
) -> Runner:
    """A runner for one event; without secrets it is a fork's."""
    environment = {
        **shop.environment,
        "GITHUB_SHA": SHA,
        "GITHUB_REPOSITORY": "acme/aegis",
        "GITHUB_API_URL": github.address,
        "DOCKER_BUILDKIT": "0",
    }
    backend = environment.pop("PULUMI_BACKEND_URL")
    passphrase = environment.pop("PULUMI_CONFIG_PASSPHRASE")
    kubeconfig = Path(environment.pop("KUBECONFIG")).read_text()
    given: dict[str, Any] = {"github.token": "t0ken", "github.repository": "acme/aegis"}
    given |= values or {}
    given["vars.AEGIS_REGISTRY"] = environment["AEGIS_REGISTRY"]
    if secrets:
        given |= {
            "vars.PULUMI_BACKEND_URL": backend,
            "secrets.PULUMI_CONFIG_PASSPHRASE": passphrase,
            **dict.fromkeys(KUBECONFIG, kubeconfig),
        }
    return Runner(workflow, shop.directory, environment, given, LEFT_OUT)


def passed(job: Job) -> Job:
    assert not job.failed, f"{job.failed}\n{job.ran[job.failed]}"
    return job


def current(shop: Stand, stack: str) -> dict[str, Any]:
    done = execute(
        *("aegis", "history", "--stack", stack, "--json"),
        cwd=shop.directory,
        env=shop.environment,
    )
    releases = json.loads(done.standard_output)["releases"]
    found: dict[str, Any] = next(it for it in releases if it["current"])
    return found


def test_production_refuses_what_staging_has_not_verified(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    push = runner(shop, github, "ci-cd.yaml")
    refused = push.run("deploy-production", tmp_path)
    assert refused.failed == "Deploy to production"
    assert "nothing is deployed there" in refused.ran["Deploy to production"]
    assert shop.kubectl("get", "namespace", "aegis-production", expect=None).code != 0


def test_a_push_to_develop_builds_once_and_verifies_on_staging(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    refs = {"github.event_name": "push", "github.ref": "refs/heads/develop"}
    push = runner(shop, github, "ci-cd.yaml", refs)
    assert [
        job for job in ("build", "deploy-staging", "deploy-production") if push.wanted(job)
    ] == [
        "build",
        "deploy-staging",
    ]
    passed(push.run("test", tmp_path))
    build = passed(push.run("build", tmp_path))
    assert build.outputs["digest"].startswith("sha256:")
    deployed = passed(push.run("deploy-staging", tmp_path, build=build))
    release = current(shop, "staging")
    assert deployed.summary.startswith(f"### ✅ staging: release {release['number']}: verified")
    pages = [(shop.directory / name).read_text() for name in ("release.html", "history.html")]
    assert "<svg" in pages[0]
    assert "change failure rate" in pages[1]
    assert release["verified"]
    assert release["imageDigest"] == build.outputs["digest"]
    assert release["message"] == f"pipeline: {SHA}"


def test_a_push_to_main_gives_production_the_image_that_staging_verified(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    refs = {"github.event_name": "push", "github.ref": "refs/heads/main"}
    push = runner(shop, github, "ci-cd.yaml", refs)
    assert [job for job in ("deploy-staging", "deploy-production") if push.wanted(job)] == [
        "deploy-production"
    ]
    done = passed(push.run("deploy-production", tmp_path))
    release, verified = current(shop, "production"), current(shop, "staging")
    assert release["verified"]
    assert release["imageDigest"] == verified["imageDigest"]
    assert "scale" in done.ran["Deploy to production"]


def test_a_pull_request_gets_one_comment_that_is_edited_in_place(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    event = {
        "github.event_name": "pull_request",
        "github.event.pull_request.number": "7",
        "github.event.pull_request.head.repo.full_name": "acme/aegis",
    }
    pull = runner(shop, github, "ci-cd.yaml", event)
    assert pull.wanted("preview")
    assert not pull.wanted("build")
    for _ in range(2):
        done = pull.run("preview", tmp_path)
        # development has no stack on this backend: that is said, and fails the check.
        assert done.failed == "Fail when a stack cannot be deployed like this"
    [comment] = github.comments
    assert "| staging |" in comment["body"]
    assert "**development** could not be previewed" in comment["body"]
    assert done.summary == comment["body"]


def test_a_fork_without_secrets_is_told_what_could_not_be_done(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    event = {
        "github.event_name": "pull_request",
        "github.event.pull_request.number": "8",
        "github.event.pull_request.head.repo.full_name": "somebody/aegis",
    }
    before = len(github.comments)
    pull = runner(shop, github, "ci-cd.yaml", event, secrets=False)
    # A runner has no credentials of a person's.
    done = passed(
        Runner(
            pull.workflow,
            pull.directory,
            {**pull.environment, "PULUMI_HOME": str(tmp_path / "home")},
            pull.values,
            pull.skipped,
        ).run("preview", tmp_path)
    )
    assert "could not be previewed" in done.summary
    assert len(github.comments) == before


def test_drift_opens_one_issue_and_its_end_closes_it(
    shop: Stand, github: GitHubServer, tmp_path: Path
) -> None:
    daily = runner(shop, github, "drift.yaml", {"matrix.stack": "staging"})
    passed(daily.run("drift", tmp_path))
    assert github.issues == []
    scaled = ("scale", "deployment", "aegis-api", "--replicas=1")
    shop.kubectl("--namespace", "aegis-staging", *scaled)
    for _ in range(2):
        passed(daily.run("drift", tmp_path))
    [issue] = github.issues
    assert "spec.replicas" in issue["body"]
    fixed = execute(
        *("aegis", "drift", "--fix", "--yes", "--stack", "staging"),
        cwd=shop.directory,
        env=shop.environment,
    )
    assert fixed.code == 0, fixed.output
    passed(daily.run("drift", tmp_path))
    assert github.issues[0]["state"] == "closed"
    deployment = shop.live("deployment", "aegis-api", "aegis-staging")
    assert deployment["spec"]["replicas"] == 2
