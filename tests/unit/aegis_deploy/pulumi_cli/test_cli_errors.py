"""Why the CLI failed, from what it printed."""

from __future__ import annotations

import pytest

from aegis_deploy.model.events import UpdateFailure
from aegis_deploy.pulumi_cli.cli_errors import (
    Finished,
    explain,
    installing,
    is_locked,
    last_lines,
    unusable,
)

LOCKED = """error: the stack is currently locked by 1 lock(s). Either wait for the other process(es)
  file:///b/.pulumi/locks/x.json: created by ann@ci-7 (pid 41) at 2026-01-02T03:04:05Z"""


EXPIRED = """Logging in using access token from PULUMI_ACCESS_TOKEN
error: Unauthorized: No credentials provided or are invalid."""


class TestFailures:
    """The CLI's text is classified once."""

    @pytest.mark.parametrize(
        ("code", "text", "what"),
        [
            (255, LOCKED, "locked by another update"),
            (255, "error: [409] Conflict: Another update is currently in progress.", "locked"),
            (255, "error: incorrect passphrase", "cannot be decrypted"),
            (6, "error: anything", "no such stack"),
            (255, "error: no stack named 'x' found", "no such stack"),
            (3, "error: PULUMI_ACCESS_TOKEN must be set for login", "the backend does not know"),
            (3, EXPIRED, "the backend does not know who you are"),
            (255, "the server has asked for the client to provide credentials", "the cluster does"),
            (255, "dial tcp 198.18.0.1:6443: connect: connection refused", "cannot be reached"),
            (255, "error: Cannot connect to the Docker daemon at unix:///d: refused", "the Docker"),
            (255, "no Docker daemon answers at unix:///d\nConnection refused", "the Docker daemon"),
            (255, "write /x: no space left on device", "the disk that holds the state is full"),
            (255, "error: could not unmarshal checkpoint: unexpected end of JSON", "be read"),
            (255, "error: something else", "the update failed"),
        ],
    )
    def test_are_named(self, code: int, text: str, what: str) -> None:
        error = explain(Finished(code, "", text), "the update failed")
        assert what in error.what
        assert text.splitlines()[-1].strip().split("created by ")[-1][:9] in error.why

    def test_of_a_lock_say_who_holds_it_and_since_when(self) -> None:
        done = Finished(255, "", LOCKED)
        assert is_locked(done)
        why = explain(done, "").why
        assert why == "ann@ci-7 (pid 41) since 2026-01-02T03:04:05Z"


class TestWhatDidNothing:
    """A run that came to nothing says what its resources said, whole."""

    LONG = "no Docker daemon answers at unix:///d\n" + "\n".join(f"line {n}" for n in range(20))

    def test_tells_a_resource_s_own_words_beside_the_cause(self) -> None:
        done = Finished(255, "", self.LONG)
        error = unusable(done, "the preview of s failed", [UpdateFailure("urn:image", self.LONG)])
        assert "the Docker daemon" in error.what
        assert error.why == self.LONG

    def test_tells_what_was_printed_where_no_resource_spoke(self) -> None:
        done = Finished(255, "", "error: incorrect passphrase")
        error = unusable(done, "the preview of s failed", [UpdateFailure("", "preview failed")])
        assert error.why == "error: incorrect passphrase"

    def test_tells_the_engine_s_reasons_where_the_cause_is_not_known(self) -> None:
        done = Finished(255, "", "error: something")
        error = unusable(done, "the preview of s failed", [UpdateFailure("", "logLevel is wrong")])
        assert (error.what, error.why) == ("the preview of s failed", "logLevel is wrong")

    def test_tells_who_holds_a_lock_and_no_more(self) -> None:
        error = unusable(
            Finished(255, "", LOCKED), "x", [UpdateFailure("urn:image", "never begun")]
        )
        assert "ann@ci-7" in error.why


STACK_OF_GO = """\
error: could not deserialize the state: snapshot integrity failure; it was already written
github.com/pulumi/pulumi/pkg/v3/backend/diy.(*diyStack).Snapshot(0x1b09f5978270, {0x46f3eb0, 0x1})
\tgithub.com/pulumi/pulumi/pkg/v3@v3.259.0/backend/diy/stack.go:78 +0x85
github.com/spf13/cobra.(*Command).Execute(...)
\tgithub.com/spf13/cobra@v1.10.2/command.go:1071
goroutine 1 [running]:
runtime/debug.Stack()
\truntime/debug/stack.go:26 +0x5e
main.main()
\tgithub.com/pulumi/pulumi/pkg/v3@v3.259.0/cmd/pulumi/main.go:67 +0x6d
"""


def test_where_a_go_program_was_is_no_news_to_a_person() -> None:
    assert last_lines(STACK_OF_GO) == STACK_OF_GO.splitlines()[0]
    assert last_lines("\n".join(STACK_OF_GO.splitlines()[1:3])), "rather that than nothing"


@pytest.mark.parametrize(
    "line",
    [
        "error: update failed (see https://example.com/a/b)",
        "  registry.example.com/team/app@sha256:1 cannot be pulled (401)",
        "see main.go:12 for why",
        "kubernetes:apps/v1:Deployment (api): the Deployment (n/api) never became ready (2 of 3)",
    ],
)
def test_what_a_person_is_told_stays(line: str) -> None:
    assert last_lines(line) == line.rstrip()
    assert last_lines(f"first\n{line}") == f"first\n{line}"


_WANTED = "no resource plugin 'pulumi-resource-random-id' found in the workspace"


@pytest.mark.parametrize(
    ("said", "command"),
    [
        (f"x: {_WANTED} at version v4.1.0-rc.1 or on your $PATH", "random-id v4.1.0-rc.1"),
        (f"{_WANTED} at version v4.1.0.", "random-id v4.1.0"),
        (f"{_WANTED} or on your $PATH", "random-id"),
        ("run `pulumi plugin install resource random v4.1.0`", "random v4.1.0"),
        ("the provider's settings are wrong", ""),
    ],
)
def test_a_plugin_that_is_not_installed_is_told_with_what_installs_it(
    said: str, command: str
) -> None:
    wanted = f"pulumi plugin install resource {command}" if command else ""
    assert installing(said) == wanted
