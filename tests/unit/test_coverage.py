"""Which processes are measured, which files count, and how a table is added up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.coverage_of_subprocesses import by_part
from tests.coverage_start import PROGRAM, Sources, started


class TestAProcess:
    """Measured are the command and the program, not what merely speaks of them."""

    @pytest.mark.parametrize(
        ("line", "which"),
        [
            ("python /x/.venv/bin/aegis deploy --yes", "aegis"),
            ("python -P -m aegis_deploy.cli.main guard --stack one", "aegis_deploy.cli.main"),
            (f"python -u /x/{PROGRAM} --pwd /y .", PROGRAM),
            ("python -m lab.plugins.language 127.0.0.1:1", ""),
            ("python -m pytest tests/aegis", ""),
            ("python -I -S -c code 1 aegis", ""),
            ("python /x/report.py aegis", ""),
            ("python", ""),
        ],
    )
    def test_is_known_by_its_command_line(self, line: str, which: str) -> None:
        assert started(line.split()) == which


class TestAFile:
    """It counts under the checkout's name, and only while it is the checkout's."""

    @pytest.fixture
    def places(self, tmp_path: Path) -> tuple[Path, Path]:
        for name in ("checkout", "copy"):
            (tmp_path / name / "components").mkdir(parents=True)
            (tmp_path / name / "components" / "labels.py").write_text("x = 1\n")
            (tmp_path / name / "other.py").write_text("x = 1\n")
        return tmp_path / "checkout", tmp_path / "copy"

    def test_of_a_copy_has_the_checkouts_name(self, places: tuple[Path, Path]) -> None:
        checkout, copy = places
        sources = Sources([str(checkout), str(copy)])
        name = str(checkout / "components" / "labels.py")
        assert sources.name(str(copy / "components" / "labels.py")) == name
        assert sources.name(name) == name

    def test_that_a_test_has_changed_does_not_count(self, places: tuple[Path, Path]) -> None:
        checkout, copy = places
        changed = copy / "components" / "labels.py"
        changed.write_text("\nx = 1\n")
        assert Sources([str(checkout), str(copy)]).name(str(changed)) == ""

    def test_of_no_part_does_not_count(self, places: tuple[Path, Path]) -> None:
        checkout, copy = places
        sources = Sources([str(checkout), str(copy)])
        for path in (checkout / "other.py", copy / "other.py", Path("/usr/lib/aegis_deploy/x.py")):
            assert sources.name(str(path)) == ""


def test_the_table_adds_lines_and_branches_up_by_part_and_in_total() -> None:
    def file(lines: int, ran: int, branches: int, taken: int) -> dict[str, dict[str, int]]:
        counts = {"num_statements": lines, "covered_lines": ran}
        return {"summary": {**counts, "num_branches": branches, "covered_branches": taken}}

    files = {
        "aegis_deploy/a.py": file(10, 5, 4, 2),
        "aegis_deploy/b.py": file(6, 6, 0, 0),
        "aegis_deploy/commands/c.py": file(0, 0, 0, 0),
        "__main__.py": file(5, 0, 0, 0),
    }
    assert by_part(files) == [
        ("__main__.py", 5, 5, 0.0),
        ("aegis_deploy", 20, 7, 65.0),
        ("aegis_deploy/commands", 0, 0, 100.0),
        ("TOTAL", 25, 12, 52.0),
    ]
