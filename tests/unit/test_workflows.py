"""The workflows hold to what keeps a pipeline from being taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.toolchain import PULUMI_VERSION

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / ".github" / "workflows").glob("*.yaml"))
COMMIT_DIGITS = 40


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    used = [
        line.split("uses:")[1].strip() for line in path.read_text().splitlines() if "uses:" in line
    ]
    assert used
    for it in used:
        commit = it.partition("@")[2].split()[0]
        assert len(commit) == COMMIT_DIGITS, f"{it} is not pinned by a commit"
        assert "# v" in it, f"{it} does not say which version that is"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_job_may_more_than_it_says(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"]["contents"] == "read", name
        for step in job["steps"]:
            if str(step.get("uses", "")).startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_of_an_event_is_pasted_into_a_script(path: Path) -> None:
    for name, job in yaml.safe_load(path.read_text())["jobs"].items():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), f"{name}: {step['name']}"


def test_the_pipeline_has_the_names_and_triggers_of_the_specification() -> None:
    [path] = [it for it in WORKFLOWS if it.name == "ci-cd.yaml"]
    workflow = yaml.safe_load(path.read_text())
    # YAML 1.1 takes the key `on` for a truth.
    triggers = workflow[True]
    assert workflow["name"] == "Aegis CI/CD Pipeline"
    assert triggers["push"]["branches"] == ["main", "develop"]
    assert triggers["pull_request"]["branches"] == ["main"]
    jobs = workflow["jobs"]
    assert {"test", "build", "deploy-staging", "deploy-production"} <= set(jobs)
    assert jobs["build"]["needs"] == "test"
    assert jobs["deploy-staging"]["needs"] == jobs["deploy-production"]["needs"] == "build"
    assert any(
        "pytest tests/ -v --cov=app" in step.get("run", "") for step in jobs["test"]["steps"]
    )


@pytest.mark.parametrize("name", ["deploy-staging", "deploy-production", "recover"])
def test_a_report_is_kept_and_summed_up_however_a_deploy_ends(name: str) -> None:
    [path] = [it for it in WORKFLOWS if it.name == "ci-cd.yaml"]
    steps = yaml.safe_load(path.read_text())["jobs"][name]["steps"]
    [report] = [it for it in steps if "aegis report" in it.get("run", "")]
    assert '--markdown >> "$GITHUB_STEP_SUMMARY"' in report["run"]
    [kept] = [it for it in steps if str(it.get("uses", "")).startswith("actions/upload-artifact")]
    assert "release.html" in kept["with"]["path"]
    assert report["if"] == kept["if"] == "always()"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_whoever_runs_aegis_has_the_pinned_cli(path: Path) -> None:
    for name, job in yaml.safe_load(path.read_text())["jobs"].items():
        installed = [
            step["with"]["pulumi-version"]
            for step in job["steps"]
            if str(step.get("uses", "")).startswith("pulumi/actions@")
        ]
        runs = " ".join(step.get("run", "") for step in job["steps"])
        wanted = "aegis " in runs or name in {"test", "newest"}
        assert installed == ([PULUMI_VERSION] if wanted else []), name


def _job(name: str) -> dict[str, Any]:
    [path] = [it for it in WORKFLOWS if it.name == "ci-cd.yaml"]
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"][name]
    return found


def _commands(name: str) -> str:
    return "\n".join(step.get("run", "") for step in _job(name)["steps"])


@pytest.mark.parametrize("name", ["deploy-staging", "deploy-production", "recover"])
def test_deploys_wait_for_each_other_and_none_is_cancelled(name: str) -> None:
    concurrency = _job(name)["concurrency"]
    assert concurrency["cancel-in-progress"] is False
    # Otherwise a third push cancels the deploy of the second while it waits for the first.
    assert concurrency["queue"] == "max"


def test_contracts_wait_for_deploys_and_run_only_what_is_due() -> None:
    [path] = [it for it in WORKFLOWS if it.name == "contract.yaml"]
    job = yaml.safe_load(path.read_text())["jobs"]["contract"]
    deploys = [
        _job(f"deploy-{stack}")["concurrency"] for stack in job["strategy"]["matrix"]["stack"]
    ]
    for stack, concurrency in zip(job["strategy"]["matrix"]["stack"], deploys, strict=True):
        group = job["concurrency"]["group"].replace("${{ matrix.stack }}", stack)
        assert {**job["concurrency"], "group": group} == concurrency
    assert job["environment"] == "${{ matrix.stack }}"
    (command,) = [it["run"] for it in job["steps"] if "aegis migrate" in it.get("run", "")]
    assert "--due --yes" in command
    # Nowhere else: no deploy and no recovery contracts.
    others = "".join(it.read_text() for it in WORKFLOWS if it != path)
    assert "migrate contract" not in others


def test_a_refresh_waits_for_staging_s_deploys_and_knows_nothing_of_production() -> None:
    [path] = [it for it in WORKFLOWS if it.name == "data-refresh.yaml"]
    workflow = yaml.safe_load(path.read_text())
    job, deploy = workflow["jobs"]["refresh"], _job("deploy-staging")
    assert (job["environment"], job["concurrency"]) == ("staging", deploy["concurrency"])
    assert workflow[True]["schedule"]
    # It writes into a file of the branch that staging is deployed from.
    (checkout,) = [it for it in job["steps"] if "actions/checkout" in it.get("uses", "")]
    assert deploy["if"] == f"github.ref == 'refs/heads/{checkout['with']['ref']}'"
    (refresh,) = [it for it in job["steps"] if "aegis data refresh" in it.get("run", "")]
    assert "--newest --yes" in refresh["run"]
    assert "--policy-pack policy" in refresh["run"]
    # Only this step may read where data sets are, and nobody the database that they are of.
    holders = [it for it in job["steps"] if "secrets.DATA_SETS" in str(it)]
    assert holders == [refresh]
    assert "production" not in str(workflow).lower()


@pytest.mark.parametrize("stack", ["staging", "production"])
def test_a_deploy_is_judged_by_the_policies_and_guarded_by_its_environment(stack: str) -> None:
    job = _job(f"deploy-{stack}")
    assert job["environment"] == stack
    assert job["concurrency"]["group"] == f"aegis-{stack}"
    assert "--policy-pack policy" in _commands(f"deploy-{stack}")


def test_what_is_built_is_attested_with_its_bill_of_materials() -> None:
    used = [str(step.get("uses", "")).partition("@")[0] for step in _job("build")["steps"]]
    assert {"anchore/sbom-action", "actions/attest", "actions/attest-build-provenance"} <= set(used)
    assert "docker build" in _commands("build")
    for name in ("deploy-staging", "deploy-production"):
        assert "docker build" not in _commands(name)


def test_a_rehearsal_is_wanted_and_is_of_this_repository_and_has_an_account_of_its_own() -> None:
    text = (WORKFLOWS[0].parent / "ci-cd.yaml").read_text()
    job = yaml.safe_load(text)["jobs"]["rehearse"]
    assert job["environment"] == "rehearsal", "a person may have to agree before it runs"
    assert "vars.AEGIS_REHEARSE != ''" in job["if"]
    assert "head.repo.full_name == github.repository" in job["if"]
    assert text.count("secrets.KUBECONFIG_REHEARSE") == 1
    text = text.partition("\n  rehearse:\n")[2].partition("\n  build:\n")[0]
    assert "secrets.KUBECONFIG }}" not in text


def test_a_preview_has_no_credentials_that_write() -> None:
    preview = (WORKFLOWS[0].parent / "ci-cd.yaml").read_text()
    preview = preview.partition("\n  preview:\n")[2].partition("\n  rehearse:\n")[0]
    assert "secrets.KUBECONFIG_READ" in preview
    assert "secrets.KUBECONFIG }}" not in preview
    assert "REGISTRY_PASSWORD" not in preview
