"""`aegis data sample` that is stopped, killed or held up: what is left, and the same run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from tests.integration.data_commands import CLIENT_OF_S3, Data
from tests.integration.databases import PostgresServer
from tests.integration.servers import Server
from tests.integration.waiting import SECONDS
from tests.rendering import ROOT
from tests.series import every

pytestmark = pytest.mark.integration
SCHEMA = """
CREATE TABLE people (id int PRIMARY KEY, post text NOT NULL UNIQUE);
CREATE TABLE letters (id int PRIMARY KEY, person int NOT NULL REFERENCES people, words text);
INSERT INTO people SELECT i, 'person' || i || '@real.example' FROM generate_series(1, 400) AS i;
INSERT INTO letters SELECT i, i, repeat('some word ', 10000) FROM generate_series(1, 400) AS i;
"""
"""Of half of it the letters are more than the part of an object that goes up at once."""
RULES = {
    "people": {"id": "keep", "post": "email"},
    "letters": {"id": "keep", "words": "keep"},
}


@pytest.fixture
def data(
    server: PostgresServer, s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Data:
    made = Data(server, tmp_path, monkeypatch)
    made.knows(s3)
    made.production.execute(SCHEMA)
    made.rules(sample={"percent": 50}, tables=RULES)
    return made


def begun(data: Data, moment: str, sent: signal.Signals, place: str) -> subprocess.Popen[str]:
    """A run in a process of its own, that a signal meets at a moment."""
    words = [moment, sent.name, *data.source(), "--to", place]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.dying_sample", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it said."""
    said, _ = run.communicate(timeout=SECONDS)
    return run.returncode, said


def left(data: Data) -> list[str]:
    return sorted(it.name for it in data.directory.iterdir() if it.name != "rules.yaml")


class TestInADirectory:
    """What is left is no data set, and the same command takes it over."""

    @pytest.mark.parametrize(
        ("moment", "remains"),
        [
            ("in a file of rows", "set.incomplete"),
            ("before the manifest", "set.incomplete"),
            ("before it is in its place", "set.incomplete"),
            ("before the mark is gone", "set"),
        ],
    )
    def test_a_killed_run(self, data: Data, moment: str, remains: str) -> None:
        whole = data.sample("whole").data["name"]
        code, said = ended(begun(data, moment, signal.SIGKILL, str(data.directory / "set")))
        assert (code, left(data)) == (-signal.SIGKILL, sorted(["whole", remains])), said
        staging = data.server.database()
        refused = data.load(remains, staging)
        assert (refused.code, "the run that wrote it did not end" in refused.told) == (3, True)
        again = data.sample("set")
        assert again.code == 0, again.told
        assert (again.data["name"], left(data)) == (whole, ["set", "whole"])
        assert data.load("set", staging).code == 0

    @pytest.mark.parametrize("moment", ["while rows are chosen", "before the mark is gone"])
    def test_a_run_that_is_told_to_stop(self, data: Data, moment: str) -> None:
        code, said = ended(begun(data, moment, signal.SIGTERM, str(data.directory / "set")))
        assert (code, left(data)) == (130, []), said
        assert "no data set was written" in said
        assert data.sample("set").code == 0

    def test_one_that_is_held_up_goes_on_in_the_moment_that_it_began_in(self, data: Data) -> None:
        whole = data.sample("whole").data["name"]
        moment = "while rows are chosen"
        run = begun(data, moment, signal.SIGSTOP, str(data.directory / "set"))
        os.waitid(os.P_PID, run.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        data.production.execute("DELETE FROM letters; UPDATE people SET post = 'new' || id")
        run.send_signal(signal.SIGCONT)
        code, said = ended(run)
        assert code == 0, said
        assert data.manifest("set")["name"] == whole


class TestInABucket:
    """The same, and no part of an upload stays that somebody pays for."""

    @pytest.fixture
    def client(self, s3: Server) -> Iterator[Any]:
        endpoint = s3.url.partition("endpoint=")[2].partition("&")[0]
        made = boto3.client("s3", endpoint_url=endpoint, **CLIENT_OF_S3)
        yield made
        made.close()

    @pytest.mark.parametrize(
        ("moment", "uploads"),
        [
            ("in an object of rows", 1),
            pytest.param("before the manifest", 0, marks=every),
            pytest.param("before the object that marks it is gone", 0, marks=every),
        ],
    )
    def test_a_killed_run(
        self, data: Data, s3: Server, client: Any, moment: str, uploads: int
    ) -> None:
        place = s3.place(moment.replace(" ", "-"))

        def under_way() -> int:
            return len(client.list_multipart_uploads(Bucket="state").get("Uploads", ()))

        code, said = ended(begun(data, moment, signal.SIGKILL, place))
        assert (code, under_way()) == (-signal.SIGKILL, uploads), said
        staging = data.server.database()
        data.set("STAGING", data.address(staging))
        load = ("load", place, "--to", "env:STAGING")
        assert "the run that wrote it did not end" in data.run(*load).told
        again = data.run("sample", *data.source(), "--to", place)
        assert again.code == 0, again.told
        assert under_way() == 0
        assert data.run(*load).code == 0

    @every
    def test_a_run_that_is_told_to_stop(self, data: Data, s3: Server, client: Any) -> None:
        place = s3.place("told")
        code, said = ended(begun(data, "in an object of rows", signal.SIGTERM, place))
        assert code == 130, said
        assert "Uploads" not in client.list_multipart_uploads(Bucket="state")
        assert client.list_objects_v2(Bucket="state", Prefix="team/told")["KeyCount"] == 0
