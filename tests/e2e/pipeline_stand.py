"""The program on a backend of its own, and runners that play its workflows as GitHub would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.github_server import GitHubServer
from tests.e2e.stand import PROJECT, ROOT, Finished, Stand, execute, stand
from tests.e2e.workflow import Job, Runner

SHA = "5" * 40
REPOSITORY = "acme/aegis"
LEFT_OUT = frozenset(
    {
        "Run checks",
        "Run tests",
        "Try the code before on this schema, and this code on the schemas that it names",
        "Hold the rules for samples against the schema that the migrations make",
    }
)
"""They would take minutes, or begin this file once more; each has tests of its own."""
MADE = LEFT_OUT | {"Install what is pinned"}
"""For the runs that find the environments made."""
KUBECONFIG, KUBECONFIG_READ = "secrets.KUBECONFIG", "secrets.KUBECONFIG_READ"
READER = ROOT / "docs" / "pipeline-reader.yaml"
PUSH = {
    "github.event_name": "push",
    # What an event does not have is nothing, on GitHub.
    "github.event.pull_request.head.repo.full_name": "",
}
TO_DEVELOP = {**PUSH, "github.ref": "refs/heads/develop"}
TO_MAIN = {**PUSH, "github.ref": "refs/heads/main"}


@contextmanager
def pipeline_stand(directory: Path, project: str = PROJECT) -> Iterator[Stand]:
    """Set up the program with the stacks staging and production, neither deployed."""
    with stand(directory, project) as it:
        # What `make policy` makes; the jobs find it made, or make it.
        if (ROOT / "policy" / ".venv").is_dir():
            (it.directory / "policy" / ".venv").symlink_to(ROOT / "policy" / ".venv")
        for name in ("staging", "production"):
            it.pulumi("stack", "init", name)
            it.stacks.append(name)
        yield it


def pull_request(number: int, owner: str = "acme") -> dict[str, str]:
    """What a pull request says of itself; one of another owner is a fork's."""
    return {
        "github.event_name": "pull_request",
        "github.ref": f"refs/pull/{number}/merge",
        "github.event.pull_request.number": str(number),
        "github.event.pull_request.base.sha": "0" * 40,
        "github.event.pull_request.head.repo.full_name": f"{owner}/aegis",
    }


def runner(
    shop: Stand,
    github: GitHubServer,
    workflow: str,
    values: Mapping[str, str] | None = None,
    **more: Any,
) -> Runner:
    """Make a runner for one event.

    Args:
        shop: The program and its backend.
        github: Where the jobs leave comments and issues.
        workflow: The workflow's file name.
        values: What the event says, and what is set otherwise than it should be.
        more: The runner's other attributes.
    """
    environment = {
        **shop.environment,
        "GITHUB_SHA": SHA,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_API_URL": github.address,
        "DOCKER_BUILDKIT": "0",
    }
    kubeconfig = Path(environment.pop("KUBECONFIG")).read_text()
    given: dict[str, Any] = {
        "github.token": "t0ken",
        "github.repository": REPOSITORY,
        "vars.AEGIS_REGISTRY": environment.pop("AEGIS_REGISTRY"),
        "vars.PULUMI_BACKEND_URL": environment.pop("PULUMI_BACKEND_URL"),
        "secrets.PULUMI_CONFIG_PASSPHRASE": environment.pop("PULUMI_CONFIG_PASSPHRASE"),
        KUBECONFIG: kubeconfig,
        KUBECONFIG_READ: kubeconfig,
    }
    made = {"skipped": MADE, **more}
    return Runner(workflow, shop.directory, environment, {**given, **(values or {})}, **made)


def built(digest: str) -> dict[str, Job]:
    """Return the jobs before a deploy, as if they had tested the program and pushed an image."""
    return {"test": Job(), "build": Job(outputs={"digest": digest})}


def passed(job: Job) -> Job:
    """Return a job, and fail when it did."""
    assert job.result == "success", f"{job.result}: {job.failed}\n{job.ran.get(job.failed)}"
    return job


def results(played: Mapping[str, Job]) -> dict[str, str]:
    """Return how the jobs of a run went, without those that were skipped."""
    return {name: job.result for name, job in played.items() if job.result != "skipped"}


def aegis(shop: Stand, *words: str) -> Finished:
    """Run `aegis` as a person does."""
    return execute("aegis", *words, cwd=shop.directory, env=shop.environment)


def image(shop: Stand, stack: str) -> str:
    """Return what the cluster runs for a stack: its pods' image."""
    deployment = shop.live("deployment", "aegis-api", shop.namespace(stack))
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def with_token(kubeconfig: str, token: str) -> str:
    """Return a kubeconfig of the same cluster for the account that a token names."""
    content = yaml.safe_load(kubeconfig)
    for user in content["users"]:
        user["user"] = {"token": token}
    return str(yaml.safe_dump(content))


@contextmanager
def reader(shop: Stand) -> Iterator[str]:
    """Make the account that may only read, as the documentation has it; yield its kubeconfig."""
    shop.kubectl("apply", "--filename", str(READER))
    try:
        where = ("--namespace", "aegis-pipeline")
        token = shop.kubectl(*where, "create", "token", "reader").standard_output.strip()
        may = ("auth", "can-i", "--as", "system:serviceaccount:aegis-pipeline:reader")
        for verb in ("create", "patch", "delete"):
            asked = shop.kubectl(
                *may, verb, "deployments", "--namespace", shop.namespace("staging"), expect=None
            )
            assert asked.standard_output.strip() == "no", asked.output
        yield with_token(Path(shop.environment["KUBECONFIG"]).read_text(), token)
    finally:
        shop.kubectl("delete", "--filename", str(READER), "--wait=false", expect=None)
