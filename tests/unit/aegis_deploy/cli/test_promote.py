"""`aegis promote`: what the command line comes to, and what is told of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from aegis_deploy.cli.commands import promote
from aegis_deploy.cli.main import main
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import ExitCode
from aegis_deploy.flows import promote as flow
from aegis_deploy.flows.deploy import DeployReport
from aegis_deploy.flows.promote import PromoteRequest
from aegis_deploy.model.release import Deployed
from aegis_deploy.model.verdict import Verdict

DIGEST = f"sha256:{'d' * 64}"
REPORTS = {
    True: DeployReport(release=None, deployed=Deployed(image_digest=DIGEST), changed=False),
    False: DeployReport(
        release=None,
        deployed=Deployed(version="1.4.2", image_digest=DIGEST),
        changed=True,
        verdict=Verdict(passed=True, reason="all serve"),
    ),
}
"""By whether it was a preview."""

Asked = list[tuple[tuple[str, str], PromoteRequest]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What is asked of the flow, and of which stacks; nothing is done."""
    found: Asked = []

    def run(source: str, target: str, request: PromoteRequest) -> DeployReport:
        found.append(((source, target), request))
        return REPORTS[request.preview]

    def opened(_: object, stack: str, __: Path, first: Callable[[Any], None] | None = None) -> str:
        # The program that is run is the target's.
        if first is not None:
            session = Mock(spec_set=["prepare_program"])
            first(session)
            session.prepare_program.assert_called_once_with()
        assert (first is None) == (stack == "staging")
        return stack

    monkeypatch.setattr(promote, "open_flow", opened)
    monkeypatch.setattr(flow, "promote", run)
    return found


def _run(*words: str) -> tuple[int, str, str]:
    results, messages = io.StringIO(), io.StringIO()
    code = main(["promote", *words], output=Output(results=results, messages=messages))
    return code, results.getvalue(), messages.getvalue()


def test_what_is_typed_is_asked(asked: Asked, tmp_path: Path) -> None:
    words = ("--unverified", "--force", "--message", "night", "--wait-lock", "2m", "--yes")
    packs = ("--policy-pack", str(tmp_path))
    code, told, _ = _run("staging", "production", "--image-digest", DIGEST, *words, *packs)
    assert code == ExitCode.OK
    assert asked == [
        (
            ("staging", "production"),
            PromoteRequest(
                image_digest=DIGEST,
                yes=True,
                unverified=True,
                force=True,
                message="night",
                wait_seconds=120,
                policy_packs=(str(tmp_path),),
            ),
        )
    ]
    assert "all serve" in told
    assert "1.4.2" in told


def test_a_preview_tells_machines_what_it_would_run(asked: Asked) -> None:
    code, told, _ = _run("staging", "production", "--preview", "--json")
    assert code == ExitCode.OK
    assert json.loads(told)["imageDigest"] == DIGEST
    assert json.loads(told)["changed"] is False
    assert [it.preview for _, it in asked] == [True]
    # To a person the flow has shown it.
    assert _run("staging", "production", "--preview")[1] == ""


def test_a_stack_is_not_promoted_to_itself(asked: Asked) -> None:
    code, told, said = _run("staging", "staging")
    assert (code, told) == (ExitCode.USAGE, "")
    assert "staging cannot be promoted to itself" in said
    assert "aegis promote SOURCE TARGET" in said
    assert asked == []
