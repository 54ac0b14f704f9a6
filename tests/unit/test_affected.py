"""Which tests `make affected` and `make e2e` choose, on a made-up repository and on this one."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from pathlib import Path

import pytest

from lab.errors import EXIT_REFUSED, LabError
from tests.affected import Choice, changes, choose, read, start, told
from tests.e2e.by_name import chosen
from tests.e2e.subjects import SUBJECTS
from tests.import_graph import edges

ROOT = Path(__file__).resolve().parents[2]
UNIT, OTHER = "tests/unit/test_locks.py", "tests/unit/test_other.py"
ENGINE, LAB = "tests/integration/test_engine.py", "tests/e2e/test_deploy.py"
TEXTS = {
    "Makefile": "",
    "app/Makefile": "",
    "requirements-dev.txt": "",
    "app/requirements.txt": "",
    "Dockerfile": "",
    "ops/base.py": "",
    "ops/locks.py": "import ops.base",
    "ops/deploy.py": "import ops.locks",
    "tests/made.py": "import ops.locks",
    UNIT: "import tests.made",
    OTHER: "import json",
    ENGINE: 'ROOT / "Dockerfile"',
    LAB: "import subprocess",
}
ABOUT = {LAB: ("ops/deploy.py",)}


def choice(changed: Collection[str], **others: str) -> Choice:
    texts = {**TEXTS, **others}
    return choose(texts, edges(texts, ABOUT), changed)


def affected(*changed: str) -> set[str]:
    return set(choice(changed).reasons)


class TestChoice:
    """A test is affected when it or anything it needs changed."""

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            (UNIT, {UNIT}),
            ("tests/made.py", {UNIT}),
            ("ops/base.py", {UNIT, LAB}),
            ("ops/deploy.py", {LAB}),
            ("Dockerfile", {ENGINE}),
            ("app/requirements.txt", set()),
            ("app/Makefile", set()),
        ],
    )
    def test_is_that_of_one_change(self, changed: str, expected: set[str]) -> None:
        assert affected(changed) == expected

    def test_is_that_of_all_changes_together(self) -> None:
        assert affected("ops/deploy.py", "Dockerfile") == {LAB, ENGINE}
        assert affected() == set()

    @pytest.mark.parametrize("changed", ["Makefile", "requirements-dev.txt"])
    def test_is_everything_when_what_all_is_run_with_changed(self, changed: str) -> None:
        made = choice([changed, UNIT])
        assert set(made.reasons) == {UNIT, OTHER, ENGINE, LAB}
        assert made.everything == [changed]

    def test_says_the_shortest_way_to_the_change(self) -> None:
        reasons = choice(["ops/base.py"]).reasons
        assert reasons[UNIT] == [UNIT, "tests/made.py", "ops/locks.py", "ops/base.py"]

    def test_of_a_deleted_module_is_who_still_imports_it(self) -> None:
        texts = {"ops/gone.py": "", OTHER: "import ops.gone"}
        assert set(choice(["ops/gone.py"], **texts).reasons) == {OTHER}

    def test_of_a_deleted_test_is_nothing(self) -> None:
        assert set(choice([OTHER], **{OTHER: ""}).reasons) == set()

    def test_parts_end_to_end_tests_from_the_others(self) -> None:
        made = choice(["ops/base.py"])
        assert made.files(e2e=False) == [UNIT]
        assert made.files(e2e=True) == [LAB]


class TestTold:
    """What is chosen is said with its reason."""

    def test_has_each_file_with_its_reason(self) -> None:
        changed = ["ops/base.py", OTHER]
        assert told(choice(changed), "abc", changed, e2e=False) == [
            "Changed since abc: 2 files",
            "Chosen: 2 files of unit and integration tests",
            f"  {UNIT}: needs tests/made.py > ops/locks.py > ops/base.py",
            f"  {OTHER}: changed itself",
            "End to end, not run; `make affected e2e=1` runs them, too: 1 file",
            f"  {LAB}: needs ops/deploy.py > ops/locks.py > ops/base.py",
        ]

    def test_says_that_end_to_end_tests_run_when_they_do(self) -> None:
        assert "End to end, chosen: 1 file" in told(choice([LAB]), "abc", [LAB], e2e=True)

    def test_says_why_everything_may_be_affected(self) -> None:
        lines = told(choice(["Makefile"]), "abc", ["Makefile"], e2e=False)
        assert lines[1:3] == [
            "Everything may be affected, for Makefile changed; `make test` decides",
            "Chosen: all 3 files of unit and integration tests",
        ]
        assert len(lines) == 4

    def test_cuts_a_long_way_short(self) -> None:
        far = Choice({UNIT: [UNIT, "a", "b", "c", "d", "e"]}, [])
        assert told(far, "abc", ["e"], e2e=False)[-1] == f"  {UNIT}: needs a > ... > d > e"


Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A git in a repository of its own with two commits, which no settings of a person reach."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)

    def run(*words: str) -> str:
        names = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        argv = ["git", *names, *words]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run("init", "-q", "-b", "main")
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text(f"# {name}\n")
        run("add", "-A")
        run("commit", "-q", "-m", name)
    return run


class TestStart:
    """What is compared with is what a person means, or what this branch began at."""

    def test_is_the_commit_before_where_there_is_no_upstream(
        self, git: Git, tmp_path: Path
    ) -> None:
        commit, words = start(tmp_path, "")
        assert commit == git("rev-parse", "HEAD~1")
        assert words.endswith("(the commit before)")

    def test_is_where_the_branch_left_the_upstream(self, git: Git, tmp_path: Path) -> None:
        git("update-ref", "refs/remotes/origin/main", "HEAD")
        assert start(tmp_path, "")[0] == git("rev-parse", "HEAD~1")
        git("commit", "-q", "--allow-empty", "-m", "third")
        git("commit", "-q", "--allow-empty", "-m", "fourth")
        commit, words = start(tmp_path, "")
        assert commit == git("rev-parse", "HEAD~2")
        assert "where this left origin/main" in words

    def test_is_what_a_person_names(self, git: Git, tmp_path: Path) -> None:
        assert start(tmp_path, "HEAD") == (git("rev-parse", "HEAD"), "HEAD")

    @pytest.mark.parametrize("name", ["nothing", "HEAD~7", "--all"])
    def test_is_refused_when_there_is_no_such_commit(
        self, git: Git, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(LabError) as caught:
            start(tmp_path, name)
        assert caught.value.what == f"since={name} names no commit"
        assert caught.value.code == EXIT_REFUSED
        assert git("status", "--porcelain") == ""

    def test_is_refused_when_there_is_nothing_before(self, git: Git, tmp_path: Path) -> None:
        git("checkout", "-q", "--orphan", "new")
        git("commit", "-q", "-m", "first of all")
        with pytest.raises(LabError, match="there is no commit to compare with"):
            start(tmp_path, "")


class TestChanges:
    """Committed or not, added or not, deleted or not: it changed."""

    def test_are_of_every_kind(self, git: Git, tmp_path: Path) -> None:
        first = git("rev-parse", "HEAD~1")
        assert changes(tmp_path, first) == ["second.py"]
        (tmp_path / ".gitignore").write_text("built\n")
        (tmp_path / "built").touch()
        (tmp_path / "new one.py").touch()
        (tmp_path / "first.py").unlink()
        git("mv", "second.py", "moved.py")
        head = git("rev-parse", "HEAD")
        expected = [".gitignore", "first.py", "moved.py", "new one.py", "second.py"]
        assert changes(tmp_path, head) == expected
        texts = read(tmp_path, expected)
        assert texts == {**dict.fromkeys(expected, ""), "moved.py": "# second\n"}


@functools.cache
def repository() -> tuple[dict[str, str], dict[str, set[str]]]:
    """Return this repository's files, and what each of them needs."""
    texts = read(ROOT, ())
    return texts, edges(texts, SUBJECTS)


def typed_in(path: str) -> set[str]:
    """Return the commands of `aegis` that a file types: the paths of their modules."""
    found = set()
    for call in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(call, ast.Call):
            continue
        words = [str(it.value) if isinstance(it, ast.Constant) else "" for it in call.args]
        if "aegis" in words:
            found.update(words[words.index("aegis") + 1 :])
        elif ast.unparse(call.func).endswith("aegis"):
            found.update(words)
    files, _ = repository()
    commands = {f"aegis_deploy/cli/commands/{word}.py" for word in found}
    return commands & set(files)


class TestSubjects:
    """Every end-to-end test says what it is about, and that exists."""

    def test_are_declared_for_every_end_to_end_test(self) -> None:
        files, _ = repository()
        tests = {path for path in files if fnmatch(path, "tests/e2e/test_*.py")}
        assert tests - set(SUBJECTS) == set()
        assert set(SUBJECTS) - set(files) == set()

    @pytest.mark.parametrize("path", [it for it in SUBJECTS if "/test_" in it])
    def test_have_every_command_that_is_typed(self, path: str) -> None:
        files, needs = repository()
        stands = {it for it in needs[path] if fnmatch(it, "tests/e2e/*.py")}
        typed = {command for it in {path, *stands} for command in typed_in(it)}
        assert {it for it in typed if path not in choose(files, needs, [it]).reasons} == set()

    @pytest.mark.parametrize("path", SUBJECTS)
    def test_exist(self, path: str) -> None:
        files, _ = repository()
        for subject in SUBJECTS[path]:
            within = [it for it in files if subject.endswith("/") and it.startswith(subject)]
            assert within or subject in files, subject

    @pytest.mark.parametrize(
        ("changed", "test"),
        [
            ("aegis_deploy/flows/rollback.py", "tests/unit/aegis_deploy/flows/test_rollback.py"),
            ("aegis_deploy/flows/rollback.py", "tests/e2e/test_rollback.py"),
            ("aegis_deploy/gate/analysis.py", "tests/e2e/test_gate.py"),
            ("aegis_deploy/cli/main.py", "tests/e2e/test_sets.py"),
            ("aegis_deploy/cli/commands/guard.py", "tests/e2e/test_sets.py"),
            ("aegis_deploy/cli/commands/show.py", "tests/unit/aegis_deploy/cli/test_main.py"),
            ("aegis_deploy/cli/commands/show.py", "tests/integration/test_state_faults.py"),
            ("components/sizing.py", "tests/unit/components/test_api_service.py"),
            ("components/sizing.py", "tests/integration/test_settings_in_engine.py"),
            ("components/sizing.py", "tests/e2e/test_deploy.py"),
            ("app/service.py", "tests/unit/app/test_endpoints.py"),
            ("app/service.py", "tests/e2e/test_rollback.py"),
            ("Pulumi.staging.yaml", "tests/unit/components/test_sizing.py"),
            ("Dockerfile", "tests/e2e/test_deploy.py"),
            (".github/workflows/ci-cd.yaml", "tests/unit/test_workflows.py"),
            (".github/workflows/ci-cd.yaml", "tests/e2e/test_pipeline.py"),
            ("README.md", "tests/unit/test_documentation.py"),
            ("docs/adr/0001-size-written-once.md", "tests/unit/test_documentation.py"),
            ("lab/plugins/language/host.py", "tests/integration/test_language_host.py"),
            ("lab/plugins/kubernetes/types.json", "tests/unit/lab/plugins/kubernetes/test_diff.py"),
            (
                "aegis_deploy/report/templates/release.html",
                "tests/unit/aegis_deploy/report/test_release_report.py",
            ),
            ("policy/aegis_policy/rules/probes.py", "tests/unit/policy/test_rules.py"),
            ("tests/integration/conftest.py", "tests/integration/test_gate_in_engine.py"),
            ("tests/languages/go/main.go", "tests/integration/test_languages_in_engine.py"),
        ],
    )
    def test_of_this_repository_are_found(self, changed: str, test: str) -> None:
        assert test in choose(*repository(), [changed]).reasons

    @pytest.mark.parametrize(
        ("changed", "test"),
        [
            ("aegis_deploy/flows/rollback.py", "tests/unit/app/test_endpoints.py"),
            ("aegis_deploy/flows/rollback.py", "tests/unit/lab/test_pki.py"),
            ("lab/lifecycle.py", "tests/unit/aegis_deploy/flows/test_rollback.py"),
            ("app/service.py", "tests/unit/aegis_deploy/flows/test_rollback.py"),
            ("docs/policy.md", "tests/unit/aegis_deploy/flows/test_rollback.py"),
            ("aegis_deploy/cli/commands/github.py", "tests/e2e/test_sets.py"),
            ("aegis_deploy/cli/commands/github.py", "tests/unit/aegis_deploy/flows/test_deploy.py"),
            ("lab/pki.py", "tests/e2e/test_manifests.py"),
        ],
    )
    def test_of_this_repository_are_not_everything(self, changed: str, test: str) -> None:
        assert test not in choose(*repository(), [changed]).reasons


class TestByName:
    """`make e2e name=...` runs the files that hold the name."""

    FILES = tuple(f"tests/e2e/test_{it}.py" for it in ("rollback", "bad_rollback", "gate"))

    def test_are_all_that_hold_it(self) -> None:
        assert chosen("rollback", self.FILES) == [self.FILES[1], self.FILES[0]]
        assert chosen(" gate ", self.FILES) == [self.FILES[2]]

    @pytest.mark.parametrize("name", ["rolback", "test", "e2e", "", " "])
    def test_are_listed_when_none_does(self, name: str) -> None:
        with pytest.raises(LabError) as caught:
            chosen(name, self.FILES)
        assert caught.value.why == "there are: bad_rollback, gate, rollback"
        assert caught.value.code == EXIT_REFUSED
