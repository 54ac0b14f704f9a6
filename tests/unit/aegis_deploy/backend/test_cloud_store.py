"""A service as the backend: what is asked of it, with a stand-in for its API and for the CLI."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import urllib3
from urllib3.exceptions import MaxRetryError, ProtocolError

from aegis_deploy.backend import cloud_api
from aegis_deploy.backend.cloud_api import PATIENCE, find_account
from aegis_deploy.backend.cloud_store import ServiceStore
from aegis_deploy.backend.protocol import Lock
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.made_backend import deployment, urn

URL = "https://api.example.com"
TOKEN = "pul-of-a-test"
STACK = "acme/shop/staging"
CLI = """#!{python}
import json, pathlib, sys
here = pathlib.Path({here!r})
words = [word for word in sys.argv[1:] if not word.startswith(("--non", "--color"))]
with (here / "asked").open("a") as asked:
    asked.write(" ".join(words) + "\\n")
print(json.loads((here / "answers.json").read_text())[" ".join(words)])
"""


@dataclass
class Api:
    """The service: answers by path, and what it was asked.

    Attributes:
        answers: What it answers to a path below the stack's.
        faults: What it does instead, one after the other: a status, headers and a text; or hang up.
    """

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[int, dict[str, str], bytes] | None] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answer a request."""
        self.asked.append(f"{method} {path}")
        if path == "/tags":
            self.tags = json.loads(body)
            return 204, {}, b""
        found = {**self.answers, "": {"tags": self.tags, **self.answers.get("", {})}}.get(path)
        if found is None:
            return 404, {}, b'{"code": 404, "message": "Not Found"}'
        return 200, {"Content-Encoding": "gzip"}, gzip.compress(json.dumps(found).encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.api.tokens.add(str(self.headers.get("Authorization")))
        path = self.path.partition(f"/api/stacks/{STACK}")[2]
        fault = self.api.faults.pop(0) if self.api.faults else ()
        if fault != ():
            self.api.asked.append(f"{self.command} {path} in vain")
        if fault is None:
            self.close_connection = True
            return
        status, headers, text = fault or self.api.answer(self.command, path, body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PATCH = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A service with two updates, which nobody waits for."""
    made = Api(
        {
            "/updates?pageSize=2&page=1": {"updates": [_item(7), _item(6)]},
            "/export/6": _states()[0],
        }
    )
    monkeypatch.setattr(cloud_api, "PATIENCE", cloud_api.PATIENCE.new(backoff_factor=0))
    handler = type("Handler", (_Handler,), {"api": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def session(tmp_path: Path, api: Api) -> Session:
    """A stack of a service."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(CLI.format(python=sys.executable, here=str(tmp_path)))
    program.chmod(0o755)
    answers = {
        "stack --show-name --fully-qualify-stack-names --stack staging": STACK,
        f"stack export --show-secrets --stack {STACK} --version 6": json.dumps(_states()[1]),
    }
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    return _opened(tmp_path, api, STACK, {"PULUMI_ACCESS_TOKEN": TOKEN})


def _opened(directory: Path, api: Api, stack: str, more: Mapping[str, str]) -> Session:
    environment = {
        "PATH": f"{directory / 'bin'}:/usr/bin:/bin",
        "HOME": str(directory),
        "PULUMI_BACKEND_URL": api.url,
        **more,
    }
    session = Session.open(stack, directory, environment)
    assert isinstance(session.store, ServiceStore)
    session.store.sleep = lambda _: None
    return session


class TestTheUpdateThatItHasInProgress:
    """It is cancelled only as long as it is the one that was judged."""

    @pytest.mark.parametrize(
        ("active", "cancelled"), [("the-dead-ones", True), ("anothers", False)]
    )
    def test_is_not_somebody_elses(
        self, session: Session, api: Api, tmp_path: Path, active: str, cancelled: bool
    ) -> None:
        answers = json.loads((tmp_path / "answers.json").read_text())
        answers[f"cancel --yes --stack {STACK}"] = "cancelled"
        (tmp_path / "answers.json").write_text(json.dumps(answers))
        api.answers[""] = {"activeUpdate": active}
        session.store.release_lock(Lock(place="the update", key="the-dead-ones"))
        asked = tmp_path / "asked"
        said = asked.read_text() if asked.exists() else ""
        assert ("cancel" in said) is cancelled


class TestItsHistory:
    """As the service has it."""

    def test_has_the_numbers_the_service_gives_and_settings_as_they_were(
        self, session: Session
    ) -> None:
        found = stack_history.releases(session, limit=2)
        assert [(it.number, it.key, it.result) for it in found] == [
            (7, "7", "succeeded"),
            (6, "6", "succeeded"),
        ]
        assert {key: (it.value, it.encrypted) for key, it in found[0].config.items()} == {
            "shop:replicas": ("2", False),
            "shop:token": ({"secure": "djE6YWJj"}, True),
            "shop:list": ([1, {"secure": "djE6YWJj"}], True),
        }

    def test_names_the_same_settings_as_the_file_they_came_from(
        self, session: Session, tmp_path: Path
    ) -> None:
        (tmp_path / "Pulumi.staging.yaml").write_text(
            "config:\n  shop:replicas: 2\n  shop:token: {secure: djE6YWJj}\n"
            "  shop:list: [1, {secure: djE6YWJj}]\n"
        )
        recorded = stack_history.releases(session, limit=2)[0].config
        assert fingerprint("i", recorded) == fingerprint("i", session.settings())

    def test_is_read_whole_when_a_page_has_fewer_than_were_asked_for(
        self, session: Session, api: Api
    ) -> None:
        api.answers["/updates?pageSize=9&page=1"] = {"updates": [_item(3), _item(2)]}
        api.answers["/updates"] = {"updates": [_item(3), _item(2), _item(1)]}
        assert [it.number for it in session.store.releases(9)] == [3, 2, 1]
        assert [it.number for it in session.store.releases()] == [3, 2, 1]


def test_its_checkpoints_are_asked_for_by_version_and_decrypted_by_the_cli(
    session: Session, tmp_path: Path
) -> None:
    release = stack_history.releases(session, limit=2)[1]
    loaded = checkpoint.load(session, release)
    assert checkpoint.plain(loaded.outputs["word"]) == "hidden"
    assert stack_history.deployed(session, release).version == "1.0.0"
    asked = (tmp_path / "asked").read_text()
    assert f"stack export --show-secrets --stack {STACK} --version 6" in asked
    assert "hidden" not in asked
    assert TOKEN not in asked


class TestItsTags:
    """All of them are written back whenever one is changed."""

    def test_keep_what_others_wrote(self, session: Session, api: Api) -> None:
        api.tags = {"pulumi:project": "shop", "aegis:old": "x"}
        session.change_tags({"aegis:new": "y"})
        session.change_tags({"aegis:old": None})
        assert api.tags == {"pulumi:project": "shop", "aegis:new": "y"}

    def test_are_written_again_when_somebody_overwrote_them(
        self, session: Session, api: Api
    ) -> None:
        store, lost = session.store, list[int]()
        assert isinstance(store, ServiceStore)

        def lose(_: float) -> None:
            if len(lost) < 2:
                lost.append(1)
                api.tags = {"theirs": "z"}

        store.sleep = lose
        session.change_tags({"aegis:new": "y"})
        assert api.tags == {"theirs": "z", "aegis:new": "y"}

    def test_that_never_stay_are_an_error(self, session: Session, api: Api) -> None:
        store = session.store
        assert isinstance(store, ServiceStore)
        store.sleep = lambda _: api.tags.clear()
        with pytest.raises(AegisError, match="could not be changed"):
            session.change_tags({"aegis:new": "y"})


class TestTheClaim:
    """It is one of the tags."""

    MINE, BEAT, OTHER = ('["111111111111",0]', '["111111111111",1]', '["222222222222",0]')

    def test_is_had_by_who_comes_first(self, session: Session) -> None:
        store = session.store
        assert store.swap_claim(None, self.MINE)
        assert not store.swap_claim(None, self.OTHER)
        assert store.swap_claim(self.MINE, None)
        assert store.claim() is None

    def test_is_had_by_who_wrote_last_of_two_at_once(self, session: Session, api: Api) -> None:
        store = session.store
        assert isinstance(store, ServiceStore)
        store.sleep = lambda _: api.tags.update({"aegis:claim": self.OTHER})
        assert not store.swap_claim(None, self.MINE)

    def test_beats_on_where_an_older_beat_was_written_back(
        self, session: Session, api: Api
    ) -> None:
        api.tags = {"aegis:claim": self.MINE}
        assert session.store.swap_claim(self.BEAT, '["111111111111",2]')
        assert api.tags == {"aegis:claim": '["111111111111",2]'}

    @pytest.mark.parametrize("now", [None, '["222222222222",0]'])
    def test_is_lost_to_whoever_took_it_even_when_that_one_is_done(
        self, session: Session, api: Api, now: str | None
    ) -> None:
        api.tags = {} if now is None else {"aegis:claim": now}
        assert not session.store.swap_claim(self.MINE, self.BEAT)

    def test_that_beat_again_is_not_taken_over(self, session: Session, api: Api) -> None:
        api.tags = {"aegis:claim": self.BEAT}
        assert not session.store.swap_claim(self.MINE, self.OTHER)
        assert not session.store.swap_claim(self.MINE, None)


class TestItsLock:
    """The service has one operation in progress at a time, and says whose."""

    def test_is_of_nobody_while_nothing_or_a_preview_is_in_progress(
        self, session: Session, api: Api
    ) -> None:
        assert session.store.locks() == []
        api.answers[""] = {"currentOperation": {"kind": "preview", "author": "ann", "started": 1}}
        assert session.store.locks() == []

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"exec.kind": "cli"}, ("ann", "", False)),
            ({"ci.system": "GitHub Actions", "exec.kind": "auto.local"}, ("ann", "", True)),
            (
                {"ci.system": "aegis", "ci.build.id": "bea@ci-7", "exec.kind": "auto.inline"},
                ("bea@ci-7", "ci-7", True),
            ),
        ],
    )
    def test_names_who_started_it(
        self,
        session: Session,
        api: Api,
        environment: dict[str, str],
        expected: tuple[str, str, bool],
    ) -> None:
        api.answers[""] = {"currentOperation": {"kind": "update", "author": "ann", "started": 1}}
        newest = {**_item(8), "result": "in-progress", "endTime": 0, "environment": environment}
        api.answers["/updates?pageSize=1&page=1"] = {"updates": [newest]}
        (lock,) = session.store.locks()
        assert (lock.who, lock.host, lock.automated) == expected
        assert lock.pid is None
        assert "update" in lock.place
        assert "ann" in lock.place


class TestTheToken:
    """It is the CLI's own."""

    def test_is_sent_and_never_shown(self, session: Session, api: Api) -> None:
        session.store.locks()
        assert api.tokens == {f"token {TOKEN}"}
        assert TOKEN not in repr(session)

    def test_comes_from_the_environment_or_from_where_the_cli_keeps_it(
        self, tmp_path: Path
    ) -> None:
        home = {"PULUMI_HOME": str(tmp_path)}
        assert find_account(URL, home) == (None, False)
        account = {"accessToken": "kept", "insecure": True}
        (tmp_path / "credentials.json").write_text(json.dumps({"accounts": {URL: account}}))
        assert find_account(f"{URL}/", home) == ("kept", True)
        assert find_account("https://other.example.com", home) == (None, False)
        assert find_account(URL, {**home, "PULUMI_ACCESS_TOKEN": "given"}) == ("given", True)
        (tmp_path / "credentials.json").write_text("encrypted")
        assert find_account(URL, home) == (None, False)

    def test_that_is_not_to_be_found_is_asked_for(
        self, tmp_path: Path, session: Session, api: Api
    ) -> None:
        assert session
        with pytest.raises(AegisError, match="does not know who you are") as raised:
            _opened(tmp_path, api, STACK, {})
        assert "PULUMI_ACCESS_TOKEN" in raised.value.next


class TestAServiceThatIsNotThere:
    """It is asked again for a while, and then told of."""

    AWAY: ClassVar[list[tuple[int, dict[str, str], bytes] | None]] = [
        None,  # It hangs up.
        (500, {}, b""),
        (503, {"Retry-After": "0"}, b"<html>"),
        (502, {}, b"<html>"),
        (429, {}, b'{"message": "slower"}'),
        (200, {}, b"<html>please log in</html>"),
        (200, {"Content-Encoding": "gzip"}, b"cut short"),
    ]

    @pytest.mark.parametrize("fault", AWAY)
    def test_is_asked_again(
        self, session: Session, api: Api, fault: tuple[int, dict[str, str], bytes] | None
    ) -> None:
        api.faults = [fault] * 3
        api.asked.clear()
        assert [it.number for it in session.store.releases(2)] == [7, 6]
        path = "/updates?pageSize=2&page=1"
        assert api.asked == [*[f"GET {path} in vain"] * 3, f"GET {path}"]

    @pytest.mark.parametrize("fault", AWAY)
    def test_is_told_of_in_the_end(
        self, session: Session, api: Api, fault: tuple[int, dict[str, str], bytes] | None
    ) -> None:
        api.faults = [fault] * 5
        with pytest.raises(AegisError, match=r"cannot be reached|does not work just now") as raised:
            session.store.releases(2)
        assert api.url in raised.value.why
        assert TOKEN not in str(raised.value)
        assert len(api.faults) == 1, "it was asked more often, or less"

    @pytest.mark.parametrize("status", [302, 401, 403, 404, 409])
    def test_is_not_asked_again_what_it_has_refused(
        self, session: Session, api: Api, status: int
    ) -> None:
        elsewhere = {"Location": f"{api.url}/elsewhere"}
        api.faults = [(status, elsewhere, b'{"message": "no"}')]
        api.asked.clear()
        with pytest.raises(AegisError) as raised:
            session.store.releases(2)
        assert f"{status}: no" in raised.value.why
        assert api.asked == ["GET /updates?pageSize=2&page=1 in vain"]

    @pytest.mark.parametrize("fault", AWAY)
    def test_is_not_asked_twice_to_change_anything(
        self, session: Session, api: Api, fault: tuple[int, dict[str, str], bytes] | None
    ) -> None:
        store = session.store
        assert isinstance(store, ServiceStore)
        assert store.unfinished() is False
        api.faults = [fault] * 5
        api.asked.clear()
        with pytest.raises(AegisError, match=r"cannot be reached|does not work just now"):
            store.service.retag({})
        assert api.asked == ["PATCH /tags in vain"]
        assert store.unfinished() is True  # Nobody was told of its end.

    def test_that_nobody_listens_at_is_named(self, session: Session) -> None:
        store = session.store
        assert isinstance(store, ServiceStore)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # Nobody listens there.
            gone = replace(store.service, url=f"http://127.0.0.1:{taken.getsockname()[1]}")
            for ask in (gone.updates, lambda: gone.retag({})):
                with pytest.raises(AegisError, match="cannot be reached") as raised:
                    ask()
                assert raised.value.why == f"{gone.url}: [Errno 111] Connection refused"

    def test_is_waited_for_longer_and_longer_and_as_long_as_it_asks_but_not_for_hours(self) -> None:
        patience, waits = PATIENCE, list[float]()
        for _ in range(3):
            patience = patience.increment("GET", "/", error=ProtocolError())
            waits.append(patience.get_backoff_time())
        assert waits == sorted(waits)
        assert sum(waits) > 3
        with pytest.raises(MaxRetryError):
            patience.increment("GET", "/", error=ProtocolError())
        asked = [urllib3.HTTPResponse(headers={"Retry-After": it}) for it in ("7", "7200")]
        assert [PATIENCE.get_retry_after(it) for it in asked] == [7, 30]


class TestAProxy:
    """The service is reached as the CLI reaches it: by the proxy that the environment names."""

    def test_is_asked_for_the_service(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, session: Session
    ) -> None:
        store = session.store
        assert isinstance(store, ServiceStore)
        behind = replace(store.service, url="http://service.example.com")
        monkeypatch.setenv("http_proxy", api.url.replace("//", "//ann:p%40ss@"))
        monkeypatch.setenv("no_proxy", "")
        assert [it["version"] for it in behind.updates(2)] == [7, 6]
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert [it["version"] for it in replace(store.service).updates(2)] == [7, 6]


def test_whose_stack_a_short_name_means_the_cli_says(
    session: Session, tmp_path: Path, api: Api
) -> None:
    assert session
    short = _opened(tmp_path, api, "staging", {"PULUMI_ACCESS_TOKEN": TOKEN})
    assert isinstance(short.store, ServiceStore)
    assert short.store.service.stack == STACK


def _item(number: int) -> dict[str, Any]:
    return {
        "version": number,
        "kind": "update",
        "startTime": 1767323045,
        "endTime": 1767323055,
        "message": "Change",
        "environment": {},
        "config": {
            "shop:replicas": {"string": "2", "secret": False, "object": False},
            "shop:token": {"string": "djE6YWJj", "secret": True, "object": False},
            "shop:list": {"string": '[1,{"secure":"djE6YWJj"}]', "secret": True, "object": True},
        },
        "result": "succeeded",
    }


def _states() -> tuple[dict[str, Any], dict[str, Any]]:
    """The same state, its secret encrypted and decrypted."""
    closed: dict[str, Any] = {"version": 3, "deployment": deployment()}
    opened: dict[str, Any] = {"version": 3, "deployment": deployment()}
    mark = {SIGNATURE: SECRET}
    for state, secret in (
        (closed, {**mark, "ciphertext": "v1:abc"}),
        (opened, {**mark, "plaintext": json.dumps("hidden")}),
    ):
        root = state["deployment"]["resources"][0]
        assert root["urn"] == urn("pulumi:pulumi:Stack", "shop-staging")
        root["outputs"]["word"] = secret
    return closed, opened
