"""What of a migration is refused, by which rule; with squawk itself, and revisions of each kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aegis_deploy.operations import squawk
from app.migrate import LIMITS
from app.migrations.rendering import render
from tests import migration_lint
from tests.migration_lint import MIGRATIONS, NEEDLESS, NO_LINE, NO_REASON, NOT_RENDERED, lint

REVISION = '''"""{about}."""

from alembic import op

revision = "{number:04d}"
down_revision = {before!r}
{members}


def upgrade():
{body}
'''
EXPAND, CONTRACT = 'kind = "expand"', 'kind = "contract"\nleast_head = 2'


class Line:
    """Revisions after one that made a table, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "versions").mkdir()
        for it in ("env.py", "script.py.mako"):
            shutil.copy(MIGRATIONS / it, directory / it)
        self.count = 0
        self.add("CREATE TABLE records (number bigint, name text, was text)")

    def add(self, *statements: str, members: str = EXPAND, before: str | None = None) -> None:
        """Add a revision that executes some statements."""
        self.write("\n".join(f"    op.execute({it!r})" for it in statements), members, before)

    def write(self, body: str, members: str = EXPAND, before: str | None = None) -> None:
        """Add a revision of a body."""
        self.count += 1
        previous = f"{self.count - 1:04d}" if self.count > 1 else None
        text = REVISION.format(
            about=f"Step {self.count}",
            number=self.count,
            before=before or previous,
            members=members,
            body=body,
        )
        (self.directory / "versions" / f"r{self.count:04d}.py").write_text(text, encoding="utf-8")

    def rules(self, limits: dict[str, int] | None = LIMITS) -> list[str]:
        """The rules that refuse it, each once."""
        return list(dict.fromkeys(it.rule for it in lint(self.directory, limits)))


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_the_services_own_migrations_pass() -> None:
    assert lint() == ()


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE records DROP COLUMN was", "ban-drop-column"),
        ("DROP TABLE records", "ban-drop-table"),
        ("DROP VIEW shown", "ban-drop-view"),
        ("DROP TYPE status", "ban-drop-type"),
        ("ALTER TABLE records DROP CONSTRAINT c", "ban-drop-constraint"),
        ("ALTER TABLE records ALTER COLUMN name DROP DEFAULT", "ban-drop-default"),
        ("ALTER TABLE records ALTER COLUMN name DROP NOT NULL", "ban-drop-not-null"),
        ("DROP TRIGGER t ON records", "drops-a-trigger"),
    ],
)
def test_an_expand_takes_nothing_away_and_a_contract_may(
    line: Line, statement: str, rule: str
) -> None:
    line.add(statement)
    line.add(statement, members=CONTRACT)
    assert [(it.revision, it.rule) for it in lint(line.directory)] == [(2, rule)]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE records ADD CONSTRAINT c CHECK (name > '') NOT VALID", "write-restriction"),
        ("CREATE OR REPLACE VIEW shown AS SELECT 1 AS one", "ban-replace-view-function"),
        ("REVOKE SELECT ON records FROM somebody", "ban-revoke"),
        ("ALTER TABLE records DISABLE TRIGGER t", "ban-disable-trigger"),
        ("ALTER TABLE records ENABLE ROW LEVEL SECURITY", "row-level-security"),
    ],
)
def test_an_expand_does_not_refuse_what_the_release_before_does(
    line: Line, statement: str, rule: str
) -> None:
    line.add(statement)
    line.add(statement, members=CONTRACT)
    (found,) = lint(line.directory)
    assert (found.revision, found.rule.endswith(rule)) == (2, True)


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE records RENAME COLUMN was TO now", "renaming-column"),
        ("ALTER TABLE records RENAME TO entries", "renaming-table"),
        ("ALTER INDEX i RENAME TO j", "renaming-object"),
        ("ALTER TABLE records ALTER COLUMN name TYPE bytea USING NULL", "changing-column-type"),
        ("ALTER TABLE records ADD COLUMN must text NOT NULL", "adding-required-field"),
        ("ALTER TABLE records ALTER COLUMN name SET NOT NULL", "adding-not-nullable-field"),
        ("ALTER TABLE records ADD COLUMN at float DEFAULT random()", "adding-field-with-default"),
        ("CREATE INDEX i ON records (name)", "require-concurrent-index-creation"),
        ("DROP INDEX i", "require-concurrent-index-deletion"),
        ("REINDEX TABLE records", "require-concurrent-reindex"),
        ("ALTER TABLE records ADD CONSTRAINT c CHECK (name > '')", "constraint-missing-not-valid"),
        ("ALTER TABLE records ADD CONSTRAINT u UNIQUE (name)", "disallowed-unique-constraint"),
        (
            "ALTER TABLE records ADD CONSTRAINT f FOREIGN KEY (number) REFERENCES t (id)",
            "adding-foreign-key-constraint",
        ),
        (
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON records (name)",
            "ban-concurrent-index-creation-in-transaction",
        ),
        ("DROP DATABASE production", "ban-drop-database"),
        ("TRUNCATE records", "takes-a-table"),
        ("LOCK TABLE records", "takes-a-table"),
        ("CLUSTER records", "takes-a-table"),
        ("SELECT 1; VACUUM (ANALYZE, FULL) records", "takes-a-table"),
        ("SET LOCAL lock_timeout = 0", "own-timeout"),
        ("SELECT set_config('lock_timeout', '0', false)", "own-timeout"),
        ("DO $$ BEGIN DROP TABLE records; END $$", "hidden-statement"),
        ("ALTER TABLE records ADD COLUMN", "syntax-error"),
    ],
)
def test_whatever_holds_up_or_breaks_who_is_there_is_refused_of_either_kind(
    line: Line, statement: str, rule: str
) -> None:
    line.add(statement)
    line.add(statement, members=CONTRACT)
    found = [it for it in lint(line.directory) if it.rule == rule]
    assert {it.revision for it in found} == {2, 3}
    assert all(it.why and it.statement for it in found)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE records ADD COLUMN more text",
        "ALTER TABLE records ADD COLUMN more text NOT NULL DEFAULT 'none'",
        "CREATE TABLE more (id bigint PRIMARY KEY, name text NOT NULL UNIQUE)",
        "UPDATE records SET was = 'DROP TABLE; LOCK TABLE in a text' WHERE number = 1",
    ],
)
def test_what_harms_nobody_passes(line: Line, statement: str) -> None:
    line.add(statement)
    line.add(statement, members=CONTRACT)
    assert lint(line.directory) == ()


def test_an_index_is_made_outside_of_a_transaction(line: Line) -> None:
    line.write(
        "    with op.get_context().autocommit_block():\n"
        "        op.create_index('i', 'records', ['name'], if_not_exists=True,\n"
        "                        postgresql_concurrently=True)"
    )
    assert line.rules() == []


def test_steps_that_commit_as_they_go_are_looked_at_as_they_are_sent(line: Line) -> None:
    line.write(
        "    from app.migrations import online\n"
        "    online.create_index('i', 'records', 'lower(name)', where=\"name <> ''\")\n"
        "    online.backfill('records', key='number', values='was = name', where='was IS NULL')"
    )
    assert line.rules() == []
    sql, why = render(line.directory, 2)
    assert why == ""
    assert (
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON records (lower(name)) WHERE name <> ''" in sql
    )
    assert "LIMIT 1000 FOR NO KEY UPDATE" in sql


def test_that_there_is_a_time_limit_is_told_by_what_the_runner_sends(line: Line) -> None:
    line.add("ALTER TABLE records ADD COLUMN more text")
    assert line.rules(None) == ["require-lock-timeout", "require-statement-timeout"]
    assert line.rules({**LIMITS, "lock_seconds": 0}) == ["require-lock-timeout"]
    assert line.rules() == []


def test_what_asks_a_database_is_told_and_its_beginning_is_looked_at(line: Line) -> None:
    line.write(
        "    op.execute('DROP TABLE records')\n"
        "    op.get_bind().execute('SELECT 1').scalar()\n"
        "    op.execute('DROP TABLE unseen')"
    )
    assert sorted(line.rules()) == ["ban-drop-table", NOT_RENDERED]


class TestWaivers:
    """One is of a rule that occurs, and says why."""

    DROP = "DROP INDEX CONCURRENTLY IF EXISTS i"

    def waive(self, line: Line, waived: object) -> list[str]:
        line.add("TRUNCATE records", members=f"{EXPAND}\nwaived = {waived!r}")
        return line.rules()

    def test_with_its_reason_lets_the_rule_be(self, line: Line) -> None:
        assert self.waive(line, {"takes-a-table": "nothing has used it since 1.4"}) == []

    def test_is_of_one_revision_alone(self, line: Line) -> None:
        self.waive(line, {"takes-a-table": "nothing has used it since 1.4"})
        line.add("TRUNCATE records")
        assert [it.revision for it in lint(line.directory)] == [3]

    @pytest.mark.parametrize("reason", ["", "  ", None])
    def test_without_a_reason_is_refused(self, line: Line, reason: str | None) -> None:
        assert self.waive(line, {"takes-a-table": reason}) == [NO_REASON]

    def test_of_what_does_not_occur_is_refused(self, line: Line) -> None:
        assert self.waive(line, {"takes-a-table": "so", "ban-drop-table": "so"}) == [NEEDLESS]

    def test_that_is_none_is_refused(self, line: Line) -> None:
        assert self.waive(line, ["takes-a-table"]) == [NO_REASON, "takes-a-table"]

    def test_of_squawks_own_kind_waives_nothing(self, line: Line) -> None:
        line.add("-- squawk-ignore ban-drop-table\nDROP TABLE records")
        assert line.rules() == ["ban-drop-table"]


class TestLine:
    """What is no line of numbered revisions, each of a kind, is refused as a whole."""

    @pytest.mark.parametrize(
        ("members", "why"),
        [
            ("", "revision 2 says neither expand nor contract: None"),
            ('kind = "both"', "revision 2 says neither expand nor contract: 'both'"),
            ('kind = "contract"', "a contract names the least code"),
        ],
    )
    def test_one_that_does_not_say_its_kind(self, line: Line, members: str, why: str) -> None:
        line.add("SELECT 1", members=members)
        (found,) = lint(line.directory)
        assert (found.rule, why in found.why) == (NO_LINE, True)

    def test_two_heads(self, line: Line) -> None:
        line.add("SELECT 1")
        line.add("SELECT 1", before="0001")
        (found,) = lint(line.directory)
        assert found.rule == NO_LINE
        assert "revision '0003' follows '0001'" in found.why


class TestTheCommand:
    """`make check` runs it."""

    def test_says_nothing_of_what_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert migration_lint.main() == 0
        assert capsys.readouterr() == ("", "")

    def test_names_the_rule_the_revision_and_the_statement(
        self, line: Line, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line.add("DROP TABLE records")
        found = lint(line.directory)
        monkeypatch.setattr(migration_lint, "lint", lambda: found)
        assert migration_lint.main() == 1
        told = capsys.readouterr().err
        assert "revision 2: ban-drop-table: " in told
        assert "\n    DROP TABLE records;\n" in told
        assert "docs/database.md" in told

    def test_is_loud_when_squawk_does_not_do_its_work(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(squawk, "OLDEST_SERVER", "no version")
        with pytest.raises(RuntimeError, match="squawk: exit "):
            line.rules()
