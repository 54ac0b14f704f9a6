"""The lab's commands: what they print, and the codes they end with."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab import __main__ as entry
from lab import bootstrap, lifecycle, nodes
from lab.choices import Ingress
from lab.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_USAGE, LabError
from lab.node import Node, first, further
from lab.settings import LabSettings


@pytest.fixture(autouse=True)
def _lab_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command works on a lab that exists only in the test's directory."""
    monkeypatch.setenv("HOME", str(tmp_path / "it is home"))
    for name in (
        "AEGIS_LAB_DIR",
        "AEGIS_LAB_NETWORK",
        "AEGIS_LAB_NODES",
        "AEGIS_LAB_INGRESS",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(lifecycle, "is_up", lambda _: False)


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Run the program as a shell does and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    return caught.value.code


class TestEnv:
    """A shell can evaluate what `env` prints."""

    def test_prints_quoted_exports_and_warns_beside_them(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(entry.app, ["env"])
        assert done.exit_code == 0
        first, *exports = done.stdout.splitlines()
        assert first == "unset PULUMI_CONFIG_PASSPHRASE"
        values = dict(shlex.split(row)[1].split("=", 1) for row in exports)
        home = tmp_path / "it is home"
        assert values["KUBECONFIG"] == f"{home}/.local/state/aegis/lab/kubeconfig"
        assert values["PATH"].startswith(f"{home}/.local/state/aegis/lab/bin:")
        assert all(row.startswith("export ") and len(shlex.split(row)) == 2 for row in exports)
        assert done.stderr == "the lab is not up: make up\n"


class TestStatus:
    """A script can ask whether the lab is up."""

    def test_of_no_lab_is_down(self) -> None:
        done = CliRunner().invoke(entry.app, ["status"])
        assert (done.exit_code, done.stdout) == (EXIT_FAILED, "The lab is down.\n")


class TestPlugins:
    """What the lab will run is said, and refused, without a lab."""

    def test_are_said_a_line_each_with_their_paths(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        host = tmp_path / "path" / "pulumi-language-python"
        host.parent.mkdir()
        host.write_text("#!/bin/sh\n")
        host.chmod(0o755)
        monkeypatch.setenv("PATH", str(host.parent))
        monkeypatch.delenv("PULUMI_HOME", raising=False)
        assert ended(monkeypatch, "plugins") == 0
        first, language, *providers = capsys.readouterr().out.splitlines()
        kind = "official, but stand-ins for: kubernetes provider, docker provider"
        assert first == f"Pulumi's plugins: {kind}"
        assert language.split() == ["Python", "language", "host", "official", str(host)]
        assert [line.split()[:3] for line in providers] == [
            ["kubernetes", "provider", "stand-in"],
            ["docker", "provider", "stand-in"],
        ]
        assert ended(monkeypatch, "plugins", "--plugins", "official") == 0
        assert capsys.readouterr().out.splitlines() == [first, language, *providers]
        host.unlink()
        assert ended(monkeypatch, "plugins", "--plugins", "official") == EXIT_REFUSED
        written = capsys.readouterr()
        assert written.out == ""
        assert "error: official plugins were asked for, and none is there\n" in written.err
        assert not (tmp_path / "it is home").exists()


class TestErrors:
    """One message on standard error, and the code that goes with it."""

    @pytest.mark.parametrize("command", ["up", "plugins"])
    def test_unknown_plugins_are_a_usage_error_in_the_projects_form(
        self, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ended(monkeypatch, command, "--plugins", "offical") == EXIT_USAGE
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[0] == "error: plugins=offical cannot be used"
        assert [line.split()[0] for line in lines[1:]] == ["why:", "state:", "next:"]
        assert "plugins=official" in lines[-1]

    @pytest.mark.parametrize(
        ("words", "said", "then"),
        [
            (("up", "--tools", "biuld"), "tools=biuld cannot be used", "tools=build"),
            (("up", "--node=3"), "No such option: --node", "python -m lab up --help"),
            (("bring-up",), "No such command 'bring-up'.", "python -m lab --help"),
            (("node", "stop"), "Missing argument 'name'.", "python -m lab node stop --help"),
            (("tool", "actionlnt"), "there is no tool actionlnt", "python -m lab tool actionlint"),
        ],
    )
    def test_a_slip_on_the_command_line_is_one_in_the_projects_form(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: tuple[str, ...],
        said: str,
        then: str,
    ) -> None:
        assert ended(monkeypatch, *words) == EXIT_USAGE
        error, *rows = capsys.readouterr().err.strip().splitlines()
        assert error.startswith(f"error: {said}")
        assert [row.split()[0] for row in rows][-2:] == ["state:", "next:"]
        assert then in rows[-1]

    @pytest.mark.parametrize("words", [(), ("node",)])
    def test_no_words_are_answered_by_the_help_alone(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: tuple[str, ...],
    ) -> None:
        assert ended(monkeypatch, *words) == EXIT_USAGE
        written = capsys.readouterr()
        assert "Usage: " in written.out
        assert written.err == ""

    def test_a_lab_error_is_printed_once_with_its_code(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("AEGIS_LAB_NETWORK", "nonsense")
        assert ended(monkeypatch, "env") == EXIT_REFUSED
        written = capsys.readouterr()
        assert written.out == ""
        assert written.err.count("error: AEGIS_LAB_NETWORK=nonsense cannot be used") == 1
        assert "Traceback" not in written.err

    @pytest.mark.parametrize(
        ("number", "words"), [(errno.ENOSPC, "free some disk space"), (errno.EACCES, "mend that")]
    )
    def test_a_fault_of_the_machine_is_a_sentence(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        number: int,
        words: str,
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number), "/srv/lab/file")

        monkeypatch.setattr(lifecycle, "down", fail)
        assert ended(monkeypatch, "down") == EXIT_FAILED
        written = capsys.readouterr().err
        assert f"/srv/lab/file: {os.strerror(number)}" in written
        assert words in written

    def test_a_fault_of_ours_keeps_its_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EBADF, "Bad file descriptor")

        monkeypatch.setattr(lifecycle, "down", fail)
        monkeypatch.setattr(sys, "argv", ["lab", "down"])
        with pytest.raises(OSError, match="Bad file descriptor"):
            entry.main()

    def test_an_interrupt_says_what_still_runs(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(lifecycle, "down", interrupt)
        assert ended(monkeypatch, "down") == EXIT_INTERRUPTED
        assert "what was started still runs" in capsys.readouterr().err

    def test_a_second_command_is_kept_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nested(lab_settings: LabSettings, **_: object) -> None:
            with pytest.raises(LabError) as caught, lifecycle.exclusive(lab_settings):
                pass
            assert f"process {os.getpid()} holds" in caught.value.why
            raise caught.value

        monkeypatch.setattr(lifecycle, "down", nested)
        assert ended(monkeypatch, "down") == EXIT_REFUSED


class TestBootstrap:
    """What runs before anything is installed."""

    def test_a_wrong_python_gets_a_sentence(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "version_info", (3, 9, 18))
        with pytest.raises(SystemExit) as caught:
            bootstrap.main()
        written = capsys.readouterr().err
        assert caught.value.code == EXIT_REFUSED
        assert written.startswith("error: Python 3.11 or newer is needed\n")
        assert f"  why:   {sys.executable} is Python 3.9.18\n" in written
        assert "make PYTHON=/path/to/python3.11" in written

    def test_an_environment_that_is_current_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(bootstrap, "VENV", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
        Path(bootstrap.stamp(str(tmp_path), bootstrap.INSTALLER, bootstrap.REQUIREMENTS)).touch()
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: pytest.fail("removed"))
        bootstrap.main()

    def test_its_own_python_does_not_make_it_stale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = bootstrap.stamp(bootstrap.VENV, bootstrap.REQUIREMENTS)
        monkeypatch.setattr(sys, "executable", f"{bootstrap.VENV}/bin/python3")
        assert bootstrap.stamp(bootstrap.VENV, bootstrap.REQUIREMENTS) == before

    def test_other_requirements_or_another_python_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        requirements = tmp_path / "requirements.txt"
        requirements.write_text("one==1\n")
        before = bootstrap.stamp(bootstrap.VENV, str(requirements))
        monkeypatch.setattr(sys, "base_prefix", "/opt/other")
        assert bootstrap.stamp(bootstrap.VENV, str(requirements)) != before
        monkeypatch.undo()
        requirements.write_text("one-more==1\n")
        assert bootstrap.stamp(bootstrap.VENV, str(requirements)) != before

    def test_the_policy_packs_is_made_only_when_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []
        monkeypatch.setattr(bootstrap, "ensure", lambda place, *_, **__: made.append(place))
        monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
        bootstrap.main()
        assert made == [bootstrap.VENV]
        monkeypatch.setattr(sys, "argv", ["bootstrap.py", "policy"])
        bootstrap.main()
        assert made[1:] == [bootstrap.VENV, bootstrap.OTHERS["policy"][0]]


class TestNodes:
    """A number of nodes is refused before anything; each command does its one thing."""

    @pytest.mark.parametrize("text", ["0", "50", "three", "2.5"])
    def test_a_number_that_cannot_be_is_refused_before_anything_is_started(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        text: str,
    ) -> None:
        monkeypatch.setattr(lifecycle, "up", lambda *_, **__: pytest.fail("it was started"))
        assert ended(monkeypatch, "up", f"--nodes={text}") == EXIT_REFUSED
        said = capsys.readouterr().err
        assert f"error: nodes={text} cannot be used\n" in said
        assert "a lab has 1 to 9 nodes" in said
        assert not (tmp_path / "it is home").exists()

    @pytest.mark.parametrize(
        ("words", "variable", "wanted"),
        [((), "", None), ((), "2", 2), (("--nodes=3",), "", 3), (("--nodes=3",), "2", 3)],
    )
    def test_what_is_typed_goes_before_the_environment(
        self,
        monkeypatch: pytest.MonkeyPatch,
        words: tuple[str, ...],
        variable: str,
        wanted: int | None,
    ) -> None:
        seen: list[int | None] = []

        def up(settings: LabSettings, *_: object, **__: object) -> lifecycle.Running:
            seen.append(settings.nodes)
            return lifecycle.Running("", [], {}, 0.0)

        monkeypatch.setenv("AEGIS_LAB_NODES", variable)
        monkeypatch.setattr(lifecycle, "up", up)
        assert ended(monkeypatch, "up", "--no-deploy", *words) == 0
        assert seen == [wanted]

    @pytest.mark.parametrize(
        ("command", "does"),
        [
            ("start", "bring_up"),
            ("stop", "stop"),
            ("kill", "kill"),
            ("cut", "cut"),
            ("mend", "mend"),
            ("leave", "leave"),
        ],
    )
    def test_each_command_is_about_the_node_that_is_named(
        self, monkeypatch: pytest.MonkeyPatch, command: str, does: str
    ) -> None:
        done: list[object] = []
        monkeypatch.setattr(nodes, "require_up", lambda _: None)
        monkeypatch.setattr(nodes, "named", lambda lab, name: further(lab, int(name)))
        monkeypatch.setattr(nodes, does, lambda *words: done.extend(words))
        assert ended(monkeypatch, "node", command, "4") == 0
        [node] = done[-1] if isinstance(done[-1], list) else [done[-1]]
        assert isinstance(node, Node)
        assert node.name == "aegis-lab-4"

    @pytest.mark.parametrize("command", ["list", "join", "start 2", "leave 2"])
    def test_of_a_lab_that_is_down_say_how_to_bring_it_up(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
    ) -> None:
        assert ended(monkeypatch, "node", *command.split()) == EXIT_REFUSED
        said = capsys.readouterr().err
        assert "error: the lab is not up" in said
        assert "make up" in said

    @pytest.mark.parametrize("taint", ["mine", "a/b:Never", ":NoSchedule", "a b:NoSchedule"])
    def test_a_taint_that_is_none_is_a_usage_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], taint: str
    ) -> None:
        assert ended(monkeypatch, "node", "join", "--taint", taint) == EXIT_USAGE
        assert f"error: --taint {taint} cannot be used" in capsys.readouterr().err

    def test_the_list_tells_what_the_cluster_says_and_what_is_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs = ("kubelet", "kube-proxy", "containerd")

        def look(lab: LabSettings, _: object) -> list[nodes.State]:
            return [
                nodes.State(first(lab), runs, False, "True", True),
                nodes.State(further(lab, 2), (), True, "True", True),
                nodes.State(further(lab, 3), runs, True, "Unknown", False),
                nodes.State(further(lab, 4), runs, False, "", True),
            ]

        monkeypatch.setattr(nodes, "require_up", lambda _: None)
        monkeypatch.setattr(nodes, "look", look)
        assert ended(monkeypatch, "node", "list") == 0
        assert [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()] == [
            ["aegis-lab", "lab-a", "198.18.0.2", "ready"],
            ["aegis-lab-2", "lab-b", "198.18.1.10", "ready, stopped"],
            ["aegis-lab-3", "lab-c", "198.18.1.14", "not heard of, link cut, takes no new pods"],
            ["aegis-lab-4", "lab-a", "198.18.1.18", "not in the cluster"],
        ]


class TestIngress:
    """`make up ingress=`: what is typed counts, and a slip is said before anything is begun."""

    def test_a_word_that_is_none_is_a_usage_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setattr(lifecycle, "up", lambda *_, **__: pytest.fail("it was started"))
        assert ended(monkeypatch, "up", "--ingress=nginx") == EXIT_USAGE
        assert "error: ingress=nginx cannot be used\n" in capsys.readouterr().err
        assert not (tmp_path / "it is home").exists()

    @pytest.mark.parametrize(
        ("words", "variable", "wanted"),
        [
            ((), "", None),
            ((), "contour", Ingress.CONTOUR),
            (("--ingress=none",), "contour", Ingress.NONE),
            (("--ingress=contour",), "", Ingress.CONTOUR),
        ],
    )
    def test_what_is_typed_goes_before_the_environment(
        self,
        monkeypatch: pytest.MonkeyPatch,
        words: tuple[str, ...],
        variable: str,
        wanted: Ingress | None,
    ) -> None:
        seen: list[Ingress | None] = []

        def up(settings: LabSettings, *_: object, **__: object) -> lifecycle.Running:
            seen.append(settings.ingress)
            return lifecycle.Running("", [], {}, 0.0)

        monkeypatch.setenv("AEGIS_LAB_INGRESS", variable)
        monkeypatch.setattr(lifecycle, "up", up)
        assert ended(monkeypatch, "up", "--no-deploy", *words) == 0
        assert seen == [wanted]
