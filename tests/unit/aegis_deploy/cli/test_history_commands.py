"""`aegis history`, `show` and `diff`, for people and for machines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.cli.commands import diff, history, show
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import dora
from aegis_deploy.history.compare import compare
from aegis_deploy.history.inspection import inspect
from aegis_deploy.history.listing import collect, entry_of
from aegis_deploy.model.release import beginning
from aegis_deploy.report import gathering
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.made_backend import MadeBackend, deployment


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


class Written:
    """An output whose text can be read."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.results, self.messages = io.StringIO(), io.StringIO()
        self.output = Output(results=self.results, messages=self.messages)
        self.output.json = as_json

    @property
    def lines(self) -> list[str]:
        return self.results.getvalue().splitlines()


@pytest.mark.parametrize(
    "look", [lambda it: collect(it, limit=None), lambda it: inspect(it, 1)], ids=["list", "show"]
)
def test_the_tags_are_read_once(
    backend: MadeBackend, monkeypatch: pytest.MonkeyPatch, look: Callable[[Session], object]
) -> None:
    backend.update()
    read: list[int] = []
    really = Session.tags

    def tags(session: Session) -> Mapping[str, str]:
        read.append(1)
        return really(session)

    monkeypatch.setattr(Session, "tags", tags)
    look(backend.session())
    assert read == [1]


class TestHistory:
    """The list."""

    def test_has_a_line_a_release_newest_first(self, backend: MadeBackend) -> None:
        backend.update(message="First")
        backend.update("failed", message="Second")
        written = Written()
        history.render(collect(backend.session(), limit=None), written.output)
        header, newest, oldest = written.lines
        assert header.startswith("#")
        assert newest.split()[0] == "2"
        for word in ("failed", "current", "Second", "Ann"):
            assert word in newest
        for word in ("succeeded", "1.0.1", "0123456789ab", "First"):
            assert word in oldest

    def test_says_on_which_data_set_each_works(self, backend: MadeBackend) -> None:
        backend.update(state=deployment())
        backend.update(state=deployment(dataset="ab" * 32))
        written, shown = Written(), Written()
        history.render(collect(backend.session(), limit=None), written.output)
        header, newest, _ = written.lines
        assert "data set" in header
        assert "abababababab " in newest
        show.render(inspect(backend.session(), 2), shown.output)
        assert any(it.split() == ["data", "set", "ab" * 32] for it in shown.lines)

    def test_a_rollback_of_two_steps_took_the_place_of_one_release(
        self, backend: MadeBackend
    ) -> None:
        backend.update()
        backend.update("failed")
        rollback = "aegis: automated rollback to release 1: it crashed"
        backend.update(message=beginning(rollback, "ResourceQuota quota goes before the rest"))
        backend.update(message=rollback)
        session = backend.session()
        entries = collect(session, limit=None).entries
        assert [(it.rolled_back_from, it.rolled_back_by) for it in entries] == [
            (2, None),
            (None, None),
            (None, 4),
            (None, None),
        ]
        alone = [entry_of(session.store.releases(), it.release, it.deployed) for it in entries]
        assert alone == list(entries)
        assert [it.release.result for it in entries[:2]] == ["succeeded", "begun"]
        assert gathering.collect(session).number == 2
        assert dora.deployments(session.store.releases())[-1].failed

    def test_says_which_release_a_rollback_took_the_place_of(self, backend: MadeBackend) -> None:
        backend.update()
        backend.update("failed")
        backend.update(kind="refresh")
        backend.update(message="aegis: automated rollback to release 1: it crashed")
        entries = collect(backend.session(), limit=None).entries
        assert [(it.release.number, it.rolled_back_from, it.rolled_back_by) for it in entries] == [
            (4, 2, None),
            (3, None, None),
            (2, None, 4),
            (1, None, None),
        ]
        assert entries[0].notes == "current, restores 1, rolled back from 2"
        assert [it.notes for it in entries[1:]] == ["refresh", "rolled back by 4", ""]

    def test_says_so_of_a_rollback_at_the_end_of_the_list_too(self, backend: MadeBackend) -> None:
        backend.update()
        backend.update()
        backend.update(message="aegis: rollback to release 1")
        listing = collect(backend.session(), limit=1)
        assert [it.rolled_back_from for it in listing.entries] == [2]
        assert listing.more == 2

    def test_what_was_put_back_as_it_was_is_not_rolled_back(self, backend: MadeBackend) -> None:
        """`aegis drift --fix` restores what runs: nothing took its place."""
        backend.update()
        backend.update()
        backend.update(message="aegis: rollback to release 2")
        backend.update(message="aegis: rollback to release 3")
        entries = collect(backend.session(), limit=None).entries
        assert {it.rolled_back_by for it in entries} == {None}
        assert [it.notes for it in entries] == ["current, restores 3", "restores 2", "", ""]

    def test_says_what_was_no_whole_release(self, backend: MadeBackend) -> None:
        targeted: dict[str, Any] = {"environment": {"pulumi.flag.target": "set"}}
        verified = [
            backend.update(),
            backend.update(**targeted),
            backend.update(kind="resource-import"),
            backend.update(kind="destroy", **targeted),
            backend.update(kind="destroy"),
        ]
        backend.tag(**{f"aegis__verified_{n}": _base36(key) for n, key in enumerate(verified)})
        listing = collect(backend.session(), limit=None)
        assert [it.notes for it in listing.entries] == [
            "destroy, current",
            "targeted destroy",
            "resource import",
            "targeted update",
            "verified",
        ], "a mark that an older version put on one counts no more"
        said = listing.as_json()["releases"]
        assert [(it["kind"], it["operation"], it["whole"]) for it in said[-2:]] == [
            ("update", "targeted update", False),
            ("update", "update", True),
        ]

    def test_says_how_many_more_there_are(self, backend: MadeBackend) -> None:
        for _ in range(5):
            backend.update()
        written = Written()
        history.render(collect(backend.session(), limit=2), written.output)
        assert written.lines[-1] == "3 more: --all"

    def test_marks_what_the_ledger_says(self, backend: MadeBackend) -> None:
        verified, refused = backend.update(), backend.update()
        tags = {
            "aegis:verified.0": _base36(verified),
            "aegis:refused.0123456789abcdef": f"{_base36(refused)} 2026-01-02T03:04:05Z it crashed",
        }
        backend.tags.write_text(json.dumps({"version": 1, "tags": tags}))
        entries = collect(backend.session(), limit=None).entries
        assert [it.notes for it in entries] == ["current, refused", "verified"]

    def test_names_every_damaged_file_and_lists_the_others(self, backend: MadeBackend) -> None:
        whole, bad, worse = backend.update(), backend.update(), backend.update()
        backend.file(bad).write_text('{"kind"')
        backend.file(worse, "checkpoint").write_text("")
        # The head says all that the list needs: a checkpoint cut short further down is no matter.
        text = backend.file(whole, "checkpoint").read_text()
        backend.file(whole, "checkpoint").write_text(text[:-2])
        written = Written()
        history.render(collect(backend.session(), limit=None), written.output)
        assert len(written.lines) == 4
        warned = written.messages.getvalue()
        assert str(backend.file(bad)) in warned
        assert str(backend.file(worse, "checkpoint")) in warned
        assert str(backend.file(whole, "checkpoint")) not in warned

    def test_of_a_stack_never_updated_says_so(self, backend: MadeBackend) -> None:
        written = Written()
        history.render(collect(backend.session(), limit=None), written.output)
        assert written.lines == ["staging has never been updated"]

    def test_is_one_document_for_machines(self, backend: MadeBackend) -> None:
        backend.update()
        written = Written(as_json=True)
        history.render(collect(backend.session(), limit=None), written.output)
        document = json.loads(written.results.getvalue())
        assert document["stack"] == "staging"
        assert document["releases"][0]["version"] == "1.0.1"
        assert document["unreadable"] == []


class TestShow:
    """One release."""

    def test_says_everything_but_secrets(self, backend: MadeBackend) -> None:
        backend.update(message="Ship it")
        written = Written()
        show.render(inspect(backend.session(), 1), written.output)
        text = "\n".join(written.lines)
        for said in ("Ship it", "shop:replicas = 2", "shop:token = [secret]", "shop/web", "1.0.1"):
            assert said in text
        assert "v1:abc" not in text

    def test_says_with_which_databases_it_works_and_whether_it_still_fits(
        self, backend: MadeBackend
    ) -> None:
        backend.update(state=deployment(schema=(3, 2)))
        backend.update(state=deployment(schema=(5, 2)))
        tags = {"aegis:schema": "5 4"}
        backend.tags.write_text(json.dumps({"version": 1, "tags": tags}))
        said = []
        for number in (1, 2):
            written = Written()
            show.render(inspect(backend.session(), number), written.output)
            said.append(next(it for it in written.lines if it.startswith("schema")))
        why = "the database works with code of revision 4 or later, and this is of 3"
        assert said[0].startswith(f"schema    2..3; {why}")
        assert said[1] == "schema    2..5"

    def test_of_a_damaged_checkpoint_says_the_rest(self, backend: MadeBackend) -> None:
        key = backend.update(message="Ship it")
        backend.file(key, "checkpoint").write_text("{")
        written = Written()
        show.render(inspect(backend.session(), 1), written.output)
        assert any("Ship it" in line for line in written.lines)
        assert str(backend.file(key, "checkpoint")) in written.messages.getvalue()

    def test_of_a_damaged_history_file_refuses_and_names_it(self, backend: MadeBackend) -> None:
        key = backend.update()
        backend.file(key).write_text("")
        with pytest.raises(AegisError) as raised:
            inspect(backend.session(), 1)
        assert str(backend.file(key)) in raised.value.why

    def test_of_a_number_that_is_not_there_says_which_are(self, backend: MadeBackend) -> None:
        backend.update()
        backend.update()
        with pytest.raises(AegisError) as raised:
            inspect(backend.session(), 9)
        assert raised.value.why == "the history has 1 to 2"


class TestDiff:
    """Two releases."""

    def test_says_what_came_went_and_changed(self, backend: MadeBackend) -> None:
        backend.update(state=deployment("1.0.0"))
        backend.update(state=deployment("2.0.0"), config={"shop:replicas": "3", "shop:new": "x"})
        written = Written()
        diff.render(compare(backend.session(), 1, 2), written.output)
        path = "spec.template.metadata.labels.app.kubernetes.io/version"
        assert written.lines == [
            "settings",
            "  + shop:new: x",
            "  ~ shop:replicas: 2 -> 3",
            "  - shop:token: [secret]",
            "resources",
            "  ~ kubernetes:apps/v1:Deployment web",
            f"      ~ {path}: 1.0.0 -> 2.0.0",
        ]

    @pytest.mark.parametrize(
        ("before", "after", "line"),
        [
            ((3, 2), (5, 2), "~ schema: 2..3 -> 2..5"),
            (None, (5, 2), "+ schema: 2..5"),
            ((3, 2), None, "- schema: 2..3"),
        ],
    )
    def test_says_with_which_databases_each_works(
        self,
        backend: MadeBackend,
        before: tuple[int, int] | None,
        after: tuple[int, int] | None,
        line: str,
    ) -> None:
        backend.update(state=deployment(schema=before))
        backend.update(state=deployment(schema=after))
        compared = compare(backend.session(), 1, 2)
        written = Written()
        diff.render(compared, written.output)
        assert line in written.lines
        assert [it["change"] for it in compared.as_json()["schema"]] == [compared.schema[0].change]

    def test_of_equals_says_so(self, backend: MadeBackend) -> None:
        backend.update(state=deployment())
        backend.update(state=deployment())
        written = Written()
        diff.render(compare(backend.session(), 1, 2), written.output)
        assert written.lines == ["releases 1 and 2 of staging do not differ"]

    def test_with_a_failed_one_says_what_it_cannot_know(self, backend: MadeBackend) -> None:
        backend.update()
        backend.update("failed")
        written = Written()
        diff.render(compare(backend.session(), 1, 2), written.output)
        assert "release 2 failed" in written.messages.getvalue()

    def test_without_a_checkpoint_compares_the_settings(self, backend: MadeBackend) -> None:
        key = backend.update()
        backend.update(config={})
        backend.file(key, "checkpoint").unlink()
        found = compare(backend.session(), 1, 2)
        assert [it.what for it in found.settings] == ["shop:replicas", "shop:token"]
        assert "checkpoint of release 1" in found.partial


def _base36(key: str) -> str:
    from aegis_deploy.history.verification_store import verified_after

    return str(verified_after({}, key)["aegis:verified.0"])
