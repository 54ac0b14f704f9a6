"""Promotion: what may be promoted, what is shown, what is put back when it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from aegis_deploy.common import git
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.promote import (
    Candidate,
    PromoteRequest,
    candidate,
    promote,
    settings_that_differ,
    summary,
)
from aegis_deploy.model.database.schema import CodeSchema
from aegis_deploy.model.events import Changes, Violation
from aegis_deploy.model.release import ConfigValue, Deployed
from aegis_deploy.operations.update_runner import Ran
from components.database import parse_schema
from tests.unit.aegis_deploy.stage import CRASHED, PASSED, Stage, outcome, release, step

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def _checked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is checked out at one commit."""
    monkeypatch.setattr(git, "commit", lambda _: "c0ffee" * 6)


def stages(**source: Any) -> tuple[Stage, Stage]:
    """Staging with one release, production with another."""
    first = replace(release(3, verified=True, git_commit="c0ffee" * 6), **source)
    staging = Stage(history=[first])
    return staging, Stage(history=[release(7, verified=True)])


def error(staging: Stage, production: Stage, **request: Any) -> AegisError:
    with pytest.raises(AegisError) as caught:
        promote(staging.flow, production.flow, PromoteRequest(yes=True, **request))
    return caught.value


class TestWhatMayBePromoted:
    """Only what is deployed, succeeded and verified."""

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"verified": False}, "no gate has passed it"),
            ({"result": "failed"}, "release 3, failed"),
            ({"kind": "destroy"}, "nothing is deployed"),
        ],
    )
    def test_anything_else_is_refused_before_any_change(
        self, change: Mapping[str, Any], reason: str
    ) -> None:
        staging, production = stages(**change)
        refused = error(staging, production)
        assert reason in refused.why
        assert refused.code is ExitCode.REFUSED
        assert production.did == []

    def test_a_stack_without_history_has_nothing(self) -> None:
        assert "nothing" in error(Stage(), stages()[1]).what

    def test_what_is_not_verified_goes_when_somebody_insists_and_is_said(self) -> None:
        staging, production = stages(verified=False)
        production.updates, production.verdicts = [Ran(outcome())], [PASSED]
        promote(staging.flow, production.flow, PromoteRequest(yes=True, unverified=True))
        assert "never verified" in staging.messages.getvalue()

    def test_an_image_without_a_digest_is_refused(self) -> None:
        with pytest.raises(AegisError, match="by digest"):
            str(Candidate("staging", release(3), Deployed("1.0")).digest)

    def test_a_verified_release_is_the_candidate(self) -> None:
        staging, _ = stages()
        assert candidate(staging.flow, unverified=False).label == "s's release 3 (1.3)"


class TestAnImageThatIsNamed:
    """It goes when the source verified it at any time, whatever runs there now."""

    OTHER = "sha256:" + "c" * 64

    def test_one_that_was_verified_once_is_promoted(self) -> None:
        staging, production = stages()
        staging.history.insert(0, release(4, result="failed"))
        production.updates, production.verdicts = [Ran(outcome())], [PASSED]
        promote(staging.flow, production.flow, PromoteRequest(yes=True, image_digest=DIGEST))
        assert "keep version=1.3" in production.did
        assert f"keep imageDigest={DIGEST}" in production.did

    @pytest.mark.parametrize("verified", [True, False])
    def test_one_that_never_was_is_refused_by_its_digest(self, verified: bool) -> None:
        staging, production = stages(verified=verified)
        digest = self.OTHER if verified else DIGEST
        refused = error(staging, production, image_digest=digest)
        assert refused.code is ExitCode.REFUSED
        assert digest in refused.what
        assert "never verified" in refused.why
        assert production.did == []

    def test_it_goes_when_somebody_insists_and_is_said(self) -> None:
        staging, production = Stage(), stages()[1]
        production.updates, production.verdicts = [Ran(outcome())], [PASSED]
        promote(
            staging.flow,
            production.flow,
            PromoteRequest(yes=True, image_digest=self.OTHER, unverified=True),
        )
        assert f"{self.OTHER} was never verified in" in staging.messages.getvalue()
        assert f"keep imageDigest={self.OTHER}" in production.did
        assert not any("version" in it for it in production.did)
        assert any("never verified" in it for it in production.did if it.startswith("update"))


class TestPolicies:
    """The packs that were named judge before anything is changed."""

    @pytest.mark.parametrize("preview", [True, False])
    def test_what_they_forbid_is_refused(self, preview: bool) -> None:
        staging, production = stages()
        rule = Violation("probes", "Add one", "urn::a", mandatory=True)
        production.changes = Changes((step(),), {}, (), (rule,))
        refused = error(staging, production, preview=preview, policy_packs=("policy",))
        assert "probes: a: Add one" in refused.why
        assert "preview policy" in production.did
        assert not any(it.startswith("keep") for it in production.did)


class TestPromoting:
    """The target deploys the digest behind its own gate."""

    def test_the_digest_and_its_version_become_the_targets_settings(self) -> None:
        staging, production = stages()
        production.updates, production.verdicts = [Ran(outcome())], [PASSED]
        report = promote(staging.flow, production.flow, PromoteRequest(yes=True))
        assert production.did[:3] == [
            "override version=1.3",
            "claim deploy",
            f"override imageDigest={DIGEST}",
        ]
        assert any(it.startswith("update: aegis: promote s's release 3") for it in production.did)
        assert report.release is not None
        assert "keep version=1.3" in production.did

    @pytest.mark.parametrize(("irreversible", "said"), [(0, "7/5"), (6, "7/5/6")])
    def test_with_them_goes_which_databases_the_image_works_with(
        self, irreversible: int, said: str
    ) -> None:
        staging, production = stages()
        code = CodeSchema(head=7, least=5, irreversible=irreversible)
        staging.schemas = {3: code}
        promote(staging.flow, production.flow, PromoteRequest(preview=True))
        assert f"override schema={said}" in production.did
        assert parse_schema(said) == code

    def test_after_a_failure_neither_setting_stays(self) -> None:
        staging, production = stages()
        production.history.append(release(6, verified=True))
        production.updates = [Ran(outcome(False), CRASHED)]
        failed = error(staging, production)
        assert failed.code is not ExitCode.OK
        assert not any(it.startswith("keep") for it in production.did)

    def test_a_preview_changes_nothing(self) -> None:
        staging, production = stages()
        promote(staging.flow, production.flow, PromoteRequest(preview=True))
        assert production.did == [
            "override version=1.3",
            f"override imageDigest={DIGEST}",
            "preview",
        ]


class TestWhatIsShown:
    """What differs besides the image."""

    def test_settings_but_not_those_that_name_the_image(self) -> None:
        source = {"a:logLevel": ConfigValue("info"), "a:imageDigest": ConfigValue("x")}
        target = {"a:logLevel": ConfigValue("debug"), "a:version": ConfigValue("y")}
        assert [it.what for it in settings_that_differ(source, target)] == ["a:logLevel"]

    def test_both_programs_are_named(self) -> None:
        staging, production = stages()
        found = candidate(staging.flow, unverified=False)
        lines = "\n".join(summary(found, production.flow, "abc123"))
        assert "setting   a:logLevel: info in s, debug in s" in lines
        assert "this checkout is abc123" in lines

    @pytest.mark.parametrize(("verified", "done"), [(True, "verified"), (False, "deployed")])
    def test_what_data_it_was_verified_with_is_said(self, verified: bool, done: str) -> None:
        staging, production = stages(verified=verified)
        staging.datasets = {3: "ab" * 32}
        found = candidate(staging.flow, unverified=True)
        lines = summary(found, production.flow, None)
        assert f"  data set  abababababab, which it was {done} with" in lines

    def test_another_checkout_is_warned_of(self) -> None:
        staging, production = stages(git_commit="f00d" * 9)
        promote(staging.flow, production.flow, PromoteRequest(preview=True))
        assert "not what" in production.messages.getvalue()
