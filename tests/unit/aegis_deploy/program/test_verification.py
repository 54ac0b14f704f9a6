"""What a program that is being deployed asks its own stack's ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.program.verification import ProgramVerification
from aegis_deploy.report.recorder import Recorder
from tests.unit.aegis_deploy.made_backend import MadeBackend

IMAGE = "registry:5000/a@sha256:" + "a" * 64
SETTINGS = {
    "shop:size": ConfigValue("2"),
    "shop:token": ConfigValue.recorded({"secure": "v1:abc"}),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProgramVerification:
    """The ledger of a stack that refuses one image with one set of settings."""
    backend = MadeBackend(tmp_path)
    mark = fingerprint(IMAGE, SETTINGS)
    backend.tag(**{f"aegis__refused_{mark}": "rs 2026-01-02T03:04:05Z it crashed"})
    (backend.project / "Pulumi.staging.yaml").write_text(
        "config:\n  shop:size: 2\n  shop:token:\n    secure: v1:abc\n"
    )
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'backend'}")
    monkeypatch.setenv("PATH", "/nowhere")
    return ProgramVerification(
        organization="organization", project="shop", stack="staging", directory=backend.project
    )


def test_the_same_image_with_the_same_settings_is_refused_with_the_reason(
    own: ProgramVerification,
) -> None:
    assert own.refusal([IMAGE]) == "it crashed (2026-01-02 03:04 UTC)"


def test_another_image_is_not(own: ProgramVerification) -> None:
    assert own.refusal([IMAGE.replace("a" * 64, "b" * 64)]) is None
    assert own.refusal([]) is None
    assert own.refusal([""]) is None


def test_the_same_image_with_other_settings_is_not(own: ProgramVerification) -> None:
    settings = own.directory / "Pulumi.staging.yaml"
    settings.write_text(settings.read_text().replace("size: 2", "size: 3"))
    assert own.refusal([IMAGE]) is None


def test_a_backend_that_cannot_be_asked_is_told_to_whoever_asks(
    own: ProgramVerification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    with pytest.raises(Exception, match="no pulumi CLI on PATH"):
        own.refusal([IMAGE])


@pytest.mark.parametrize(
    ("url", "reference"),
    [
        ("file:///x", "staging"),
        ("s3://bucket/x?region=y", "staging"),
        ("https://api.pulumi.com", "acme/shop/staging"),
    ],
)
def test_a_service_is_told_whose_stack_it_is(url: str, reference: str, tmp_path: Path) -> None:
    own = ProgramVerification(
        organization="acme", project="shop", stack="staging", directory=tmp_path
    )
    assert own._reference(url) == reference


def test_a_gate_that_spoke_in_an_update_keeps_its_timeline(
    own: ProgramVerification, tmp_path: Path
) -> None:
    recording = Recorder("staging", "pulumi up")
    recording.judged(Verdict(passed=True, reason="good"))
    own.keep(recording, pytest.fail)
    kept = tmp_path / "backend" / ".pulumi" / "aegis" / "shop" / "staging.timelines"
    [path] = kept.iterdir()
    assert b'"command":"pulumi up"' in path.read_bytes()


def test_a_timeline_that_cannot_be_kept_is_told_and_no_more(
    own: ProgramVerification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///nowhere")
    recording, told = Recorder("staging", "pulumi up"), list[str]()
    recording.judged(Verdict(passed=True, reason="good"))
    own.keep(recording, told.append)
    assert len(told) == 1
