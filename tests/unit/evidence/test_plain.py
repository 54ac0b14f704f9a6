"""What of a text is kept: its end, what alarms, no secret."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.evidence.plain import (
    GONE,
    WIDTH,
    alarms,
    busiest,
    events,
    excerpt,
    in_short,
    last_part,
    not_ready,
    redacted,
    secrets_in,
    slug,
)

_PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBeNeverShown\n-----END EC PRIVATE KEY-----"
_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJuZXZlciJ9.c2hvd24tbmV2ZXI"


class TestNoSecretIsKept:
    """No secret is in what is kept, and nothing else is lost for it."""

    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            (f"key: |\n{_PEM}\nafter", "NeverShown"),
            (_PEM.partition("-----END")[0], "NeverShown"),
            (f"client-key-data: {base64.b64encode(_PEM.encode()).decode()}", "LS0tLS1"),
            (f"E   {{'config': '{base64.b64encode(_PEM.encode()).decode()}'}}", "LS0tLS1"),
            (f"said {_TOKEN}.", "c2hvd24"),
            ("Authorization: Bearer abcdef123456", "abcdef123456"),
            ("{'PULUMI_CONFIG_PASSPHRASE': \"the tests' own\", 'A': 'b'}", "the tests' own"),
            ("AWS_SECRET_ACCESS_KEY=abc/def+0 next", "abc/def"),
            ('{"PULUMI_ACCESS_TOKEN": "pul-0123"}', "pul-0123"),
            ("users:\n- user:\n    token: short1\n", "short1"),
            ("the passphrase is known-one, is it", "known-one"),
        ],
    )
    def test_neither_a_known_one_nor_what_looks_like_one(self, text: str, secret: str) -> None:
        assert secret in text
        kept = redacted(text, {"known-one"})
        assert secret not in kept
        assert GONE in kept

    def test_what_is_none_stays(self) -> None:
        text = "E  assert token == 'x'\nciphertext: v1:abc=\nreplicas: 2\nsecrets \"web\" not found"
        assert redacted(text, ()) == text

    def test_what_follows_a_secret_stays(self) -> None:
        assert redacted("A_TOKEN='x y', B='z'", ()) == f"A_TOKEN={GONE}, B='z'"

    def test_known_are_variables_whose_names_tell_and_what_files_say(self) -> None:
        environment = {
            "PULUMI_CONFIG_PASSPHRASE": "in-a-variable",
            "PULUMI_CONFIG_PASSPHRASE_FILE": "/a/path/to/it",
            "GITHUB_TOKEN": "short",
            "HOME": "/home/of/somebody",
        }
        kubeconfig = "users:\n- user:\n    client-key-data: a-key-in-base64\n    token: a-token-1\n"
        assert secrets_in(environment, "a-passphrase\n", kubeconfig, "") == {
            "in-a-variable",
            "a-passphrase",
            "a-key-in-base64",
            "a-token-1",
        }


class TestTheEndOfATextIsKept:
    """The end of a text says most."""

    def test_of_a_report_with_what_was_asserted(self) -> None:
        report = "\n".join(["def test():", "E   AssertionError: first", *map(str, range(50)), ""])
        found = excerpt(report, 15)
        assert len(found) == 15
        assert found[0] == "E   AssertionError: first"
        assert found[-1] == "49"

    def test_of_a_short_report_all(self) -> None:
        assert excerpt("a\n\nE   b\n", 15) == ["a", "E   b"]

    def test_of_a_long_file_whole_lines(self) -> None:
        kept = last_part("first\nsecond\nthird\n", 12)
        assert kept == "[the last 12 characters of 19]\nthird\n"
        assert last_part("short", 5) == "short"


def test_directories_of_two_tests_never_meet() -> None:
    first, second = slug("tests/a/test_x.py::test_y[a/b]"), slug("tests/a/test_x.py::test_y[a:b]")
    assert first != second
    assert slug("tests/b/test_x.py::test_y") != slug("tests/a/test_x.py::test_y")
    long = slug("tests/a/test_x.py::" + "../ ~$" * 100)
    assert len(long) < 100
    assert set(long) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")


def test_errors_of_daemons_are_found_in_their_formats() -> None:
    bad = [
        "E1128 19:00:00.000000   1 controller.go:1] lost",
        'time="2026-11-28T19:00:00Z" level=error msg="lost"',
        '{"level":"fatal","msg":"lost"}',
        "panic: runtime error",
        "[ERROR] plugin/errors: 2 lost",
    ]
    good = ["I1128 19:00:00 1 x.go:1] no error", 'level=info msg="error=<nil>"', "Error budget"]
    assert alarms("\n".join([*good, *bad, *good])) == bad


def _event(name: str, **more: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "shop", "name": name}
    metadata = {"creationTimestamp": "2026-11-28T19:00:00Z"}
    return {"involvedObject": about, "metadata": metadata, "message": "it is\nso", **more}


def test_events_are_those_since_the_beginning_in_order_whatever_their_kind_of_time() -> None:
    begun = 1795892400.9  # 2026-11-28T19:00:00.9Z
    document = {
        "items": [
            _event("new", lastTimestamp=None, eventTime="2026-11-28T19:00:09.500000Z"),
            _event("old", lastTimestamp="2026-11-28T18:59:59Z"),
            _event("last", lastTimestamp="2026-11-28T19:00:05Z", count=3, type="Warning"),
            _event("only-made"),
            _event(
                "series",
                eventTime="2026-11-28T18:00:00.000000Z",
                series={"count": 7, "lastObservedTime": "2026-11-28T19:00:07.000000Z"},
            ),
        ]
    }
    found = events(document, begun)
    assert [it.text.split("/")[1].partition(":")[0] for it in found] == [
        "only-made",
        "last",
        "series",
        "new",
    ]
    assert str(found[1]) == "19:00:05.000000 Warning  pod shop/last: it is so (x3)"


def test_pods_are_not_ready_unless_they_are_or_ended_well() -> None:
    def pod(name: str, phase: str, ready: str | None, **metadata: str) -> dict[str, Any]:
        conditions = [] if ready is None else [{"type": "Ready", "status": ready}]
        return {
            "metadata": {"namespace": "shop", "name": name, **metadata},
            "status": {"phase": phase, "conditions": conditions},
        }

    document = {
        "items": [
            pod("serves", "Running", "True"),
            pod("done", "Succeeded", "False"),
            pod("starts", "Running", "False"),
            pod("waits", "Pending", None),
            pod("ends", "Running", "False", deletionTimestamp="2026-11-28T19:00:00Z"),
        ]
    }
    assert not_ready(document) == [
        ("shop", "starts", "Running"),
        ("shop", "waits", "Pending"),
        ("shop", "ends", "Terminating"),
    ]


def test_the_busiest_are_those_that_used_most_between_two_looks() -> None:
    before = {1: 1000, 2: 10, 3: 50}
    after = {1: 1000, 2: 40, 3: 55, 4: 500}
    assert busiest(before, after, 30, 5) == [(2, 100.0), (3, pytest.approx(16.7, abs=0.1))]


class TestATailIsShort:
    """A pipeline shows the end of its output, and only that."""

    @pytest.mark.parametrize("count", [1, 2, 7, 24, 25, 400])
    def test_however_many_fail(self, count: int) -> None:
        one = ("test", [f"E {row}" for row in range(15)], [f"event {row}" for row in range(20)])
        found = in_short([one] * count, 150)
        assert len(found) <= 150
        assert found[0] == "--- test"
        assert "E 14" in found
        assert "event 0" in found

    def test_a_few_are_told_whole(self) -> None:
        failure, around = [f"E {row}" for row in range(15)], [f"event {row}" for row in range(20)]
        assert in_short([("a", failure, around), ("b", failure, around)], 150) == [
            "--- a",
            *failure,
            *around,
            "--- b",
            *failure,
            *around,
        ]

    def test_who_is_left_out_is_counted(self) -> None:
        assert in_short([("a", ["E"], [])] * 100, 20)[-1].startswith("... and 97 more failed")

    def test_a_long_line_is_cut(self) -> None:
        assert len(in_short([("a", ["x" * 5000], [])], 150)[1]) < WIDTH + 10
