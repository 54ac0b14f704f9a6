"""What the CLI is told when it is run, and what it tells."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped,unused-ignore]
from pulumi.runtime.proto import language_pb2_grpc

from aegis_deploy.model.events import EventCollector
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.pulumi_cli.project import Project
from aegis_deploy.stack import inline_program
from aegis_deploy.stack.automation import Runner

SHOP = Project("shop", Path("/shop"), Path("/shop"), runtime="nodejs")


def said(message: str) -> bytes:
    """An event as the CLI writes it."""
    event = {"diagnosticEvent": {"message": message, "severity": "info"}}
    return json.dumps(event).encode() + b"\n"


class _Engine:
    """A CLI that does as it is told with what it was given."""

    program = "/usr/bin/pulumi"

    def __init__(self, does: Callable[[list[str], int], None] = lambda *_: None) -> None:
        self.does = does
        self.words: list[str] = []
        self.environment: Mapping[str, str] = {}

    def run(
        self,
        words: Sequence[str],
        *,
        interruptible: bool,
        directory: Path,
        environment: Mapping[str, str],
        inherited: tuple[int, ...],
    ) -> Finished:
        assert interruptible
        assert directory == Path("/shop")
        (events,) = inherited
        self.words, self.environment = list(words), environment
        assert f"/dev/fd/{events}" in words
        self.does(self.words, events)
        return Finished(0, "", "")

    def after(self, flag: str) -> str:
        return self.words[self.words.index(flag) + 1]


def ran(engine: _Engine, command: str = "up", **options: Any) -> EventCollector:
    """Run an operation; return what it told."""
    recorder = EventCollector()
    runner = Runner(cast("Any", engine), "acme/shop/s", SHOP)
    assert runner.run(command, recorder, **options).code == 0
    return recorder


class TestWhatItIsTold:
    """The words that the Automation API has for it."""

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("up", ["up", "--yes", "--skip-preview"]),
            ("preview", ["preview"]),
            ("preview_refresh", ["refresh", "--preview-only"]),
            ("refresh", ["refresh", "--yes", "--skip-preview"]),
        ],
    )
    def test_the_operation_of_this_very_stack(self, command: str, words: list[str]) -> None:
        ran(engine := _Engine(), command)
        assert engine.words[: len(words)] == words
        assert engine.after("--stack") == "acme/shop/s"
        assert engine.after("--exec-kind") == "auto.local"
        assert "--client" not in engine.words

    def test_its_flags_those_of_lists_each_by_itself(self) -> None:
        options: dict[str, Any] = {
            "target": ["a", "b"],
            "refresh": True,
            "message": "m",
            "exclude": None,
        }
        ran(engine := _Engine(), config_file="/c", policy_packs=["p"], **options)
        flags = engine.words[3 : engine.words.index("--stack")]
        assert flags == [
            *("--config-file", "/c", "--policy-pack", "p", "--target", "a", "--target", "b"),
            *("--refresh", "--message", "m"),
        ]

    def test_what_was_set_by_hand_is_taken_over_only_by_what_is_restored(self) -> None:
        ran(engine := _Engine(), environment={"A": "b"})
        assert engine.environment["A"] == "b"
        assert "PULUMI_K8S_ENABLE_PATCH_FORCE" not in engine.environment
        ran(engine, program=lambda: None)
        assert engine.environment["PULUMI_K8S_ENABLE_PATCH_FORCE"] == "true"


class TestEvents:
    """All of them are told, in their order, and nothing that was broken off."""

    def test_each_as_it_comes_and_all_of_them_by_the_end(self) -> None:
        def writes(_: list[str], into: int) -> None:
            for number in range(2000):
                os.write(into, said(f"{number}"))

        told = ran(_Engine(writes)).said
        assert [it.message for it in told] == [str(number) for number in range(2000)]

    def test_what_a_cli_that_was_killed_broke_off_is_none(self) -> None:
        def breaks_off(_: list[str], into: int) -> None:
            os.write(into, said("whole") + said("half")[:-9])

        assert [it.message for it in ran(_Engine(breaks_off)).said] == ["whole"]

    def test_they_are_told_while_it_runs(self) -> None:
        heard = threading.Event()

        def waits(_: list[str], into: int) -> None:
            os.write(into, said("one"))
            assert heard.wait(30)

        recorder = EventCollector(lambda _: heard.set())
        Runner(cast("Any", _Engine(waits)), "s", SHOP).run("up", recorder)
        assert [it.message for it in recorder.said] == ["one"]


class TestAProgramOfThisProcess:
    """It is served on the port that the CLI is told."""

    @staticmethod
    def asks(words: list[str], _: int) -> None:
        with grpc.insecure_channel(words[words.index("--client") + 1]) as channel:
            stub = language_pb2_grpc.LanguageRuntimeStub(channel)
            stub.GetPluginInfo(empty_pb2.Empty(), timeout=60)

    def test_to_whoever_asks(self) -> None:
        ran(engine := _Engine(self.asks), program=lambda: None)
        assert engine.after("--exec-kind") == "auto.inline"

    def test_also_to_one_that_asks_before_there_is_anybody_to_answer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        really = inline_program.serving

        def late(program: Callable[[], Any]) -> AbstractContextManager[int]:
            time.sleep(0.5)  # It asks at once.
            return really(program)

        monkeypatch.setattr(inline_program, "serving", late)
        ran(_Engine(self.asks), program=lambda: None)

    def test_one_that_cannot_be_served_is_told_as_that(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_: Callable[[], Any]) -> AbstractContextManager[int]:
            raise ImportError("no SDK")

        monkeypatch.setattr(inline_program, "serving", broken)

        def asks_in_vain(words: list[str], _: int) -> None:
            with pytest.raises(grpc.RpcError):
                self.asks(words, _)

        for engine in (_Engine(), _Engine(asks_in_vain)):
            with pytest.raises(ImportError, match="no SDK"):
                ran(engine, program=lambda: None)
