"""The policy pack under the real engine: a good program passes it, a bad one is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.plugin_cache import official_language
from tests.integration.conftest import Project
from tests.rendering import ROOT, TOKEN
from tests.series import every

PACK = ROOT / "policy"
PASSED = "✅ aegis@v"
SERVICE = Path("components", "api_service.py")
POD = Path("components", "api_pod.py")
ROLLOUT = Path("components", "rollout.py")

pytestmark = pytest.mark.skipif(
    not (PACK / ".venv" / "bin" / "python").exists(),
    reason="the policy pack has no virtual environment; `make policy` makes it",
)


def edit(project: Project, path: Path, before: str, after: str) -> None:
    """Change the project's copy of the program."""
    text = (project.directory / path).read_text()
    assert before in text
    (project.directory / path).write_text(text.replace(before, after))


def preview(project: Project, *options: str) -> tuple[int, str]:
    """Preview the stack under the pack."""
    words = ("preview", "--stack", project.stack, "--policy-pack", str(PACK), *options)
    done = project.pulumi(*words)
    return done.code, done.text


def refused(rule: str) -> str:
    """How the engine tells a mandatory violation."""
    return f"[mandatory]  {rule}  ("


class TestTheProgram:
    """Nothing of what this repository deploys is refused, or told."""

    @pytest.mark.parametrize(
        "project", [pytest.param("development", marks=every), "production"], indirect=True
    )
    def test_passes_a_preview(self, project: Project) -> None:
        project.set("aegis:apiToken", TOKEN, "--secret")
        code, text = preview(project)
        assert code == 0, text
        self._nothing_told(text)

    def test_passes_a_preview_and_its_update(self, project: Project) -> None:
        project.set("aegis:apiToken", TOKEN, "--secret")
        words = ("up", "--yes", "--stack", project.stack, "--policy-pack", str(PACK))
        self._nothing_told(project.expect(*words).text)

    @staticmethod
    def _nothing_told(text: str) -> None:
        assert PASSED in text
        assert "[mandatory]" not in text
        assert "[advisory]" not in text


class TestABadProgram:
    """It is refused with the rule's name and what to do about it."""

    def test_is_refused_before_its_pods_are_made(self, project: Project) -> None:
        edit(project, ROLLOUT, "max_unavailable=0", "max_unavailable=1")
        edit(project, POD, "read_only_root_filesystem=True", "read_only_root_filesystem=False")
        words = ("up", "--yes", "--skip-preview", "--stack", project.stack)
        done = project.pulumi(*words, "--policy-pack", str(PACK))
        assert done.code != 0
        assert refused("rolling-update") in done.text
        assert "maxUnavailable is 1" in done.text
        assert "Set it to 0" in done.text
        assert refused("no-privilege") in done.text
        assert [step for step in project.steps() if "Deployment" in step] == []

    def test_is_refused_for_what_only_the_whole_stack_shows(self, project: Project) -> None:
        edit(project, SERVICE, "max_unavailable=self._args.size.disruptions", "max_unavailable=0")
        code, text = preview(project)
        assert code != 0
        assert refused("disruption-budget") in text
        assert "maxUnavailable: 1" in text

    def test_is_refused_for_its_size_and_for_a_secret_anybody_reads(self, project: Project) -> None:
        project.set("aegis:scale", "1")
        plain = '"AEGIS_PORT": str(PORT),'
        leak = f'{plain} "AEGIS_GREETING": pulumi.Output.secret("{TOKEN}"),'
        path = Path("components", "environment.py")
        edit(project, path, plain, leak)
        edit(project, path, "from components.api_pod", "import pulumi\nfrom components.api_pod")
        config = Path("components", "release_config.py")
        edit(project, config, "content_hash(args.plain)}", "content_hash({})}")
        code, text = preview(project)
        assert code != 0
        assert refused("staging-is-half") in text
        assert 'pulumi config set --stack staging aegis:scale "0.5"' in text
        assert refused("secrets-are-secret") in text
        assert "what Pulumi keeps secret" in text
        assert TOKEN not in text


class TestAWaiver:
    """It lets the object pass, and is told in every preview; the pack's own settings work too."""

    def test_is_told_with_its_reason(self, project: Project, tmp_path: Path) -> None:
        edit(project, ROLLOUT, "max_unavailable=0", "max_unavailable=1")
        waiver = '{"policy.aegis/rolling-update": "ticket 7: the quota has no room for a surge"}'
        before = "self._metadata(None if gate is None"
        edit(project, SERVICE, before, before.replace("None if", f"{waiver} if"))
        project.set("aegis:scale", "1")
        settings = tmp_path / "policy.json"
        settings.write_text('{"staging-is-half": "advisory"}')
        code, text = preview(project, "--policy-pack-config", str(settings))
        assert code == 0, text
        assert "[advisory]  waived  (" in text
        assert "ticket 7: the quota has no room for a surge" in text
        assert "[advisory]  staging-is-half  (" in text


class TestWithoutItsEnvironment:
    """The message says what to type."""

    def test_names_the_command(self, project: Project, tmp_path: Path, cli: Path) -> None:
        pack = tmp_path / "pack"
        pack.mkdir()
        (pack / "PulumiPolicy.yaml").write_text((PACK / "PulumiPolicy.yaml").read_text())
        done = project.pulumi("preview", "--stack", project.stack, "--policy-pack", str(pack))
        assert done.code != 0
        if official_language(cli, os.environ["PATH"]) is None:  # That one has words of its own.
            assert "`pulumi install`" in done.text
        assert "Traceback" not in done.text
