"""What a file needs is read from its imports and strings, on a made-up repository."""

from __future__ import annotations

import pytest

from tests.import_graph import edges

FILES = {
    "Dockerfile": "",
    "Pulumi.yaml": "",
    "Pulumi.one.yaml": "",
    ".github/workflows/ci.yaml": "",
    "docs/page.md": "",
    "docs/adr/0001.md": "",
    "main.py": "",
    "ops/__init__.py": "",
    "ops/cli.py": "",
    "ops/locks.py": "",
    "ops/style.css": "",
    "ops/commands/__init__.py": "",
    "ops/commands/deploy.py": "",
    "ops/commands/show.py": "",
    "ops/service/__init__.py": "",
    "ops/service/__main__.py": "",
    "policy/pack/__init__.py": "",
    "policy/pack/rule.py": "",
    "tests/unit/recorded/one.json": "",
    "aegis_deploy/cli/main.py": "",
    "aegis_deploy/cli/commands/show.py": "",
    "aegis_deploy/cli/commands/guard.py": "",
}
PACKAGE = "ops/__init__.py"


def needed(text: str, path: str = "tests/unit/test_it.py") -> set[str]:
    """Return what a file with this text needs."""
    return edges({**FILES, path: text}, {})[path]


class TestImports:
    """A module needs what it imports, and the packages around that."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("import ops.cli", {PACKAGE, "ops/cli.py"}),
            ("import ops.cli as it, os", {PACKAGE, "ops/cli.py"}),
            ("from ops.locks import taken", {PACKAGE, "ops/locks.py"}),
            ("from ops import cli, locks", {PACKAGE, "ops/cli.py", "ops/locks.py"}),
            ("from ops import NAME", {PACKAGE}),
            ("def f():\n    from ops import cli\n", {PACKAGE, "ops/cli.py"}),
            ("try:\n    import ops.cli\nexcept ImportError:\n    pass", {PACKAGE, "ops/cli.py"}),
            ("from policy.pack import rule", {"policy/pack/__init__.py", "policy/pack/rule.py"}),
            ("from pack import rule", {"policy/pack/__init__.py", "policy/pack/rule.py"}),
            ("import json, other.thing", set()),
        ],
    )
    def test_are_followed(self, text: str, expected: set[str]) -> None:
        assert needed(text) == expected

    def test_of_what_is_no_python_are_none_and_no_error(self) -> None:
        assert edges({**FILES, "ops/broken.py": "import ("}, {}).get("ops/broken.py") is None

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("from . import locks", {PACKAGE, "ops/locks.py"}),
            ("from .locks import taken", {PACKAGE, "ops/locks.py"}),
            ("from .commands import deploy", {"ops/commands/deploy.py"}),
        ],
    )
    def test_are_followed_from_where_the_file_is(self, text: str, expected: set[str]) -> None:
        assert needed(text, "ops/it.py") >= expected

    def test_from_further_up_are_followed(self) -> None:
        assert "ops/locks.py" in needed("from ..locks import taken", "ops/commands/it.py")

    @pytest.mark.parametrize("guard", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
    def test_for_types_alone_are_not(self, guard: str) -> None:
        text = f"if {guard}:\n    import ops.cli\nelse:\n    import ops.locks\n"
        assert needed(text) == {PACKAGE, "ops/locks.py"}


class TestStarted:
    """A module that is started by its name is needed as if it were imported."""

    @pytest.mark.parametrize(
        "text",
        [
            'run([sys.executable, "-m", "ops.cli", "deploy"])',
            'run(f"exec {python} -m ops.cli")',
            'place(path, "ops.cli")',
            'monkeypatch.setattr("ops.cli.run", None)',
        ],
    )
    def test_is_found(self, text: str) -> None:
        assert "ops/cli.py" in needed(text)

    def test_with_its_main_module(self) -> None:
        assert "ops/service/__main__.py" in needed('run([python, "-m", "ops.service"])')

    def test_by_a_name_that_is_put_together(self) -> None:
        found = needed('import_module(f"ops.commands.{name}")')
        assert {"ops/commands/deploy.py", "ops/commands/show.py"} <= found
        assert "ops/locks.py" not in found

    @pytest.mark.parametrize("text", ['f"{a}.{b}"', '{"ops.x/y": 1}', '"ops"', '"Read ops.cli"'])
    def test_is_not_seen_in_everything(self, text: str) -> None:
        assert needed(f"x = {text}") <= {PACKAGE}

    def test_is_not_seen_in_documentation(self) -> None:
        assert needed("def f():\n    'ops.cli'\n") == set()


class TestCommands:
    """The command line has all commands; who runs it needs what it may run."""

    MAIN = "aegis_deploy/cli/main.py"
    GUARD, SHOW = (f"aegis_deploy/cli/commands/{it}.py" for it in ("guard", "show"))
    START = '[sys.executable, "-m", "aegis_deploy.cli.main", *words()]'

    def test_are_not_needed_by_the_list_of_them(self) -> None:
        text = 'import_module(f"aegis_deploy.cli.commands.{self.module}")'
        assert needed(text, self.MAIN) == set()
        assert needed("import aegis_deploy.cli.commands.show", self.MAIN) == {self.SHOW}

    @pytest.mark.parametrize("text", [START, "from aegis_deploy.cli import main"])
    def test_are_all_needed_by_a_test_that_runs_any(self, text: str) -> None:
        assert needed(text) == {self.MAIN, self.GUARD, self.SHOW}

    def test_are_needed_by_the_program_that_names_them(self) -> None:
        text = f'{self.START}\ndef words():\n    return ["guard", "--log", "show it"]'
        assert needed(text, "aegis_deploy/locking/watchdog.py") == {self.MAIN, self.GUARD}


class TestRead:
    """A file that is read is needed, whatever it is written in."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('ROOT / "Dockerfile"', {"Dockerfile"}),
            ('(ROOT / "docs" / "page.md").read_text()', {"docs/page.md"}),
            ('ROOT / ".github" / "workflows"', {".github/workflows/ci.yaml"}),
            ('ROOT / "docs" / name', {"docs/page.md", "docs/adr/0001.md"}),
            ('ROOT / f"Pulumi.{stack}.yaml"', {"Pulumi.one.yaml"}),
            ('ROOT.glob("*.yaml")', {"Pulumi.yaml", "Pulumi.one.yaml"}),
            ('ROOT.glob("docs/**/*.md")', {"docs/page.md", "docs/adr/0001.md"}),
            ('Path("docs", "page.md")', {"docs/page.md"}),
            ('run(["cat", "docs/page.md"])', {"docs/page.md"}),
            ('Path(__file__).with_name("recorded")', {"tests/unit/recorded/one.json"}),
            ('runpy.run_path(str(ROOT / "main.py"))', {"main.py"}),
            ('X = ("Pulumi.yaml", "docs")', {"Pulumi.yaml", "docs/page.md", "docs/adr/0001.md"}),
            # What is not the repository's, or not meant as a place.
            ('tmp_path / "Dockerfile"', set()),
            ('labels = {"docs": 1}', set()),
            ('labels["docs"]', set()),
            ('("docs", "main")', set()),
            ('name.startswith("docs/")', set()),
            ('ROOT / "tests"', set()),
            ("ROOT / name", set()),
        ],
    )
    def test_is_found(self, text: str, expected: set[str]) -> None:
        assert needed(text) == expected

    def test_beside_the_code_is_found(self) -> None:
        assert needed('Path(__file__).with_name("style.css")', "ops/it.py") == {"ops/style.css"}

    def test_rows_of_files_are_the_repositorys_in_tests_alone(self) -> None:
        row = 'NAMES = ("Pulumi.yaml", "Pulumi.yml")'
        assert needed(row) == {"Pulumi.yaml"}
        assert needed(row, "ops/it.py") == set()

    def test_and_declared_is_added(self) -> None:
        found = edges(FILES, {"ops/cli.py": ("docs/", "Dockerfile", "none/")})["ops/cli.py"]
        assert found == {"docs/page.md", "docs/adr/0001.md", "Dockerfile"}


class TestFixtures:
    """A test needs those fixtures that it names, and not what else is in their conftest.py."""

    CONFTEST = """
import pytest
from ops import cli, locks
from ops.commands import deploy, show

def pytest_configure(config):
    show.run()

def _made():
    return locks.LOCK

@pytest.fixture
def lock():
    return _made()

@pytest.fixture(scope="module")
def running(lock):
    return cli.run(lock)

@pytest.fixture(autouse=True)
def _always():
    deploy.run()
"""

    def closure(self, text: str, path: str = "tests/unit/ops/test_it.py") -> set[str]:
        files = {**FILES, "tests/conftest.py": "", "tests/unit/conftest.py": self.CONFTEST}
        graph = edges({**files, path: text}, {})
        found, waiting = {path}, [path]
        while waiting:
            for it in graph.get(waiting.pop(), set()) - found:
                found.add(it)
                waiting.append(it)
        return {it for it in found if it.startswith("ops/") and "__init__" not in it}

    def test_are_needed_when_they_are_arguments(self) -> None:
        text = "def test_it(lock):\n    pass\n"
        assert self.closure(text) == {"ops/locks.py", "ops/commands/deploy.py"}

    def test_are_needed_through_each_other(self) -> None:
        text = "def test_it(running):\n    pass\n"
        assert self.closure(text) == {"ops/cli.py", "ops/locks.py", "ops/commands/deploy.py"}

    @pytest.mark.parametrize("call", ['mark.usefixtures("lock")', 'r.getfixturevalue("lock")'])
    def test_are_needed_when_they_are_asked_for_by_name(self, call: str) -> None:
        assert "ops/locks.py" in self.closure(f"x = pytest.{call}")

    def test_are_not_needed_where_nobody_names_them(self) -> None:
        text = 'lock = "lock"\n'
        assert self.closure(text) == {"ops/commands/deploy.py"}
        assert self.closure("def test_it(lock): ...", "tests/e2e/test_it.py") == set()

    @pytest.mark.parametrize(("mark", "needs"), [("", False), ("@pytest.fixture\n", True)])
    def test_are_no_arguments_of_an_ordinary_function(self, mark: str, needs: bool) -> None:
        text = f"{mark}def made(lock):\n    pass\n"
        assert ("ops/locks.py" in self.closure(text, "tests/unit/ops/made.py")) == needs

    def test_are_hidden_by_the_files_own(self) -> None:
        own = "@pytest.fixture\ndef lock():\n    pass\n\ndef test_it(lock):\n    pass\n"
        assert "ops/locks.py" not in self.closure(own)
        refined = "@pytest.fixture\ndef lock(lock):\n    pass\n"
        assert "ops/locks.py" in self.closure(refined)

    def test_make_their_file_needed_by_all_below_it(self) -> None:
        files = {**FILES, "tests/conftest.py": "", "tests/unit/conftest.py": self.CONFTEST}
        graph = edges({**files, "tests/unit/test_it.py": "", "tests/e2e/test_it.py": ""}, {})
        assert graph["tests/unit/test_it.py"] >= {"tests/conftest.py", "tests/unit/conftest.py"}
        assert graph["tests/e2e/test_it.py"] == {"tests/conftest.py"}
