"""What is missing, has expired or does not answer: said clearly, with nothing half-deployed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.github_server import GitHubServer
from tests.e2e.pipeline_stand import (
    KUBECONFIG,
    KUBECONFIG_READ,
    MADE,
    TO_DEVELOP,
    aegis,
    built,
    pipeline_stand,
    pull_request,
    results,
    runner,
    with_token,
)
from tests.e2e.releases import push
from tests.e2e.stand import Stand
from tests.e2e.workflow import Job, Runner
from tests.series import every

PROJECT = "unlucky"
NOBODY = "sha256:" + "0" * 64
SILENT = "198.18.0.2:9/nobody"
"""In the lab's own network, where nothing listens on this port."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The program, its stacks never deployed."""
    with pipeline_stand(tmp_path_factory.mktemp("faults"), PROJECT) as it:
        yield it


@pytest.fixture(scope="module")
def digest(shop: Stand) -> str:
    """An image that the registry has."""
    return push(shop.environment, shop.environment["AEGIS_RUNTIME_IMAGE"], "for-faults")


@contextmanager
def refusing(message: str) -> Iterator[str]:
    """Serve an API that knows no token; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            raw = f'{{"code": 401, "message": "{message}"}}'.encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self) -> None:
            self._refuse()

        def do_POST(self) -> None:
            self._refuse()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def deploying(
    shop: Stand, github: GitHubServer, values: Mapping[str, str], digest: str = NOBODY
) -> tuple[Runner, Mapping[str, Job]]:
    """A runner for a push to develop, and the job before the deploy."""
    it = runner(shop, github, "ci-cd.yaml", {**TO_DEVELOP, **values}, skipped=MADE | {"Report"})
    # A runner has no credentials of a person's.
    it.environment = {**it.environment, "PULUMI_CREDENTIALS_PATH": "/nonexistent"}
    return it, built(digest)


def refused(shop: Stand, job: Job, step: str, *words: str) -> None:
    """Assert that a job failed in a step, said why, and left nothing behind."""
    assert job.failed == step, f"{job.failed or 'nothing'} failed\n{job.ran}"
    said = job.ran[step]
    for part in ("error: ", "why: ", "state: nothing was changed", "next: ", *words):
        assert part in said, said
    assert "Traceback" not in said
    nothing_there(shop)


def nothing_there(shop: Stand) -> None:
    """Assert that neither the cluster nor the state has anything of either stack."""
    for stack in ("staging", "production"):
        assert not shop.is_there("namespace", shop.namespace(stack))
        assert shop.exported(stack) == []


class TestWhatIsMissing:
    """A secret or a variable that nobody set."""

    @pytest.mark.parametrize(
        "missing",
        [
            ("vars.PULUMI_BACKEND_URL", "PULUMI_BACKEND_URL is not set"),
            ("secrets.PULUMI_CONFIG_PASSPHRASE", "set PULUMI_CONFIG_PASSPHRASE"),
            pytest.param((KUBECONFIG, "kubeconfig"), marks=every),
        ],
    )
    def test_ends_a_deploy_and_is_named(
        self,
        shop: Stand,
        github: GitHubServer,
        digest: str,
        tmp_path: Path,
        missing: tuple[str, str],
    ) -> None:
        name, words = missing
        it, needs = deploying(shop, github, {name: ""}, digest)
        refused(shop, it.run("deploy-staging", tmp_path, needs), "Deploy to staging", words)

    def test_ends_the_recovery_too(self, shop: Stand, github: GitHubServer, tmp_path: Path) -> None:
        it, _ = deploying(shop, github, {"vars.PULUMI_BACKEND_URL": ""})
        refused(shop, it.run("recover", tmp_path), "Recover", "PULUMI_BACKEND_URL is not set")

    def test_ends_the_look_for_drift_and_opens_no_issue(
        self, shop: Stand, github: GitHubServer, tmp_path: Path
    ) -> None:
        missing = dict.fromkeys((KUBECONFIG_READ, "secrets.PULUMI_CONFIG_PASSPHRASE"), "")
        daily = runner(shop, github, "drift.yaml", {"matrix.stack": "staging", **missing})
        refused(shop, daily.run("drift", tmp_path), "Look for drift and tell")
        assert github.issues == []


class TestWhatHasExpired:
    """A token that was good once."""

    def test_of_the_cluster(
        self, shop: Stand, github: GitHubServer, digest: str, tmp_path: Path
    ) -> None:
        kubeconfig = Path(shop.environment["KUBECONFIG"]).read_text()
        values = {KUBECONFIG: with_token(kubeconfig, "expired")}
        it, needs = deploying(shop, github, values, digest)
        job = it.run("deploy-staging", tmp_path, needs)
        refused(shop, job, "Deploy to staging", "the cluster of staging does not know who you are")

    def test_of_the_state(self, shop: Stand, github: GitHubServer, tmp_path: Path) -> None:
        with refusing("Unauthorized: No credentials provided or are invalid.") as address:
            values = {
                "vars.PULUMI_BACKEND_URL": address,
                "secrets.PULUMI_ACCESS_TOKEN": "pul-expired",
            }
            it, needs = deploying(shop, github, values)
            job = it.run("deploy-staging", tmp_path, needs)
        words = ("the backend does not know who you are", "PULUMI_ACCESS_TOKEN")
        refused(shop, job, "Deploy to staging", *words)
        assert "pul-expired" not in str(job.ran)

    @every
    def test_of_github(self, shop: Stand, github: GitHubServer, tmp_path: Path) -> None:
        with refusing("Bad credentials") as address:
            pull = runner(shop, github, "ci-cd.yaml", pull_request(9))
            pull.environment = {**pull.environment, "GITHUB_API_URL": address}
            job = pull.run("preview", tmp_path)
        assert job.failed == "Leave one comment"
        said = job.ran["Leave one comment"]
        assert "401: Bad credentials" in said
        assert "GITHUB_TOKEN" in said
        assert "t0ken" not in said
        assert "| staging |" in job.summary


class TestAnImageThatCannotBePulled:
    """Nothing is deployed of which the registry does not say that it has it."""

    def test_a_build_that_cannot_be_pushed_ends_the_pipeline(
        self, shop: Stand, github: GitHubServer, tmp_path: Path
    ) -> None:
        it, _ = deploying(shop, github, {"vars.AEGIS_REGISTRY": SILENT})
        played = it.play(tmp_path)
        assert results(played) == {"test": "success", "build": "failure"}
        assert played["build"].failed == "Push to registry"
        assert SILENT.partition("/")[0] in played["build"].ran["Push to registry"]
        nothing_there(shop)

    @every
    def test_from_a_registry_that_does_not_answer(
        self, shop: Stand, github: GitHubServer, digest: str, tmp_path: Path
    ) -> None:
        it, needs = deploying(shop, github, {"vars.AEGIS_REGISTRY": SILENT}, digest)
        job = it.run("deploy-staging", tmp_path, needs)
        refused(shop, job, "Deploy to staging", "the registry does not answer", "--force")

    def test_by_a_digest_that_there_is_not(
        self, shop: Stand, github: GitHubServer, tmp_path: Path
    ) -> None:
        it, needs = deploying(shop, github, {})
        job = it.run("deploy-staging", tmp_path, needs)
        refused(shop, job, "Deploy to staging", "its registry does not have", NOBODY)

    def test_by_what_is_no_digest(self, shop: Stand) -> None:
        done = aegis(shop, "deploy", "--stack", "staging", "--image-digest", "latest", "--yes")
        assert done.code == 3, done.output
        assert f"{PROJECT}:imageDigest" in done.output
        assert "imageDigest" not in (shop.directory / "Pulumi.staging.yaml").read_text()
        nothing_there(shop)


@pytest.mark.parametrize(
    "words",
    [
        ("deploy", "--yes", "--stack", "organization/shop/staging"),
        ("drift", "--stack", "organization/shop/staging"),
        ("promote", "--yes", "staging", "organization/shop/production"),
    ],
    ids=lambda words: words[0],
)
def test_a_stack_of_another_project_is_refused_by_name(shop: Stand, words: tuple[str, ...]) -> None:
    done = aegis(shop, *words)
    assert done.code == 2, done.output
    assert "is a stack of the project shop" in done.output
    assert f"this is the directory of the project {PROJECT}" in done.output
    nothing_there(shop)
