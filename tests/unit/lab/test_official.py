"""What is downloaded, built and stood in for: decided by what there is and what was asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from lab import (
    download,
    lifecycle,
    official,
    packages,
    plugin_cache,
    preflight,
    releases,
    toolchain,
)
from lab.choices import Plugins, Tools
from lab.download import Refusal
from lab.errors import EXIT_REFUSED, LabError
from lab.official import Choices
from lab.plugin_cache import Plugin
from lab.progress import Step, Steps
from lab.releases import COREDNS, KUBERNETES, OF_PROVIDERS, PULUMI, Release
from lab.settings import LabSettings
from lab.toolchain import KUBE, POLICIES, PULUMI_VERSION, STORAGE, Tool, Toolchain
from tests.unit.lab.release_site import Site, running, whole

Script = Callable[[str, str], Path]
PROVIDERS = list(OF_PROVIDERS.values())
TOOLS = [PULUMI, KUBERNETES, COREDNS]
NOTHING = Choices()
REFUSALS = [Refusal(it, "github.com: no way") for it in (PULUMI, COREDNS, *PROVIDERS)]
CLI, DNS = toolchain.PULUMI, toolchain.COREDNS
OURS = [STORAGE, POLICIES]
"""What nobody publishes."""
pytestmark = pytest.mark.usefixtures("nothing_installed")


def build(lab: LabSettings, *tools: Tool) -> None:
    for tool in tools:
        path = Toolchain(lab).path(tool)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("built\n")


def have(lab: LabSettings, *those: Release) -> None:
    for release in those:
        for name in release.needed:
            path = releases.directory(lab, release) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("official\n")


class TestWanted:
    """Nobody is asked for what is there."""

    def test_is_all_on_a_new_machine(self, lab: LabSettings) -> None:
        assert official.wanted(lab, NOTHING) == list(releases.ALL)

    def test_is_nothing_where_it_was_downloaded(self, lab: LabSettings) -> None:
        have(lab, *releases.ALL)
        for choices in (NOTHING, Choices(Plugins.OFFICIAL, Tools.OFFICIAL)):
            assert official.wanted(lab, choices) == []

    def test_is_nothing_in_a_lab_that_was_built_and_stood_in_for(self, lab: LabSettings) -> None:
        build(lab, CLI, KUBE, DNS)
        plugin_cache.install(lab)
        assert official.wanted(lab, NOTHING) == []
        assert official.wanted(lab, Choices(plugins=Plugins.OFFICIAL)) == [PULUMI, *PROVIDERS]
        assert official.wanted(lab, Choices(tools=Tools.OFFICIAL)) == TOOLS

    @pytest.mark.parametrize(
        ("choices", "those"),
        [
            (Choices(plugins=Plugins.STAND_IN), TOOLS),
            (Choices(plugins=Plugins.FOUND), TOOLS),
            (Choices(tools=Tools.BUILD), [PULUMI, *PROVIDERS]),
            (Choices(Plugins.STAND_IN, Tools.BUILD), []),
            (Choices(Plugins.FOUND, Tools.BUILD), []),
        ],
    )
    def test_is_what_was_not_ruled_out(
        self, lab: LabSettings, choices: Choices, those: list[Release]
    ) -> None:
        assert official.wanted(lab, choices) == those

    def test_is_not_what_a_person_has(self, lab: LabSettings, script: Script) -> None:
        script("path/pulumi", f"echo {PULUMI_VERSION}")
        script("path/pulumi-language-python", "exit 0")
        script("path/pulumi-resource-docker", "exit 0")
        those = [KUBERNETES, COREDNS, OF_PROVIDERS["kubernetes"]]
        assert official.wanted(lab, NOTHING) == those


class TestToBuild:
    """What is neither there nor coming."""

    def test_is_all_on_a_new_machine(self, lab: LabSettings) -> None:
        assert official.to_build(lab, NOTHING, []) == [CLI, KUBE, DNS, *OURS]

    def test_is_what_nobody_publishes_where_the_rest_is_coming(self, lab: LabSettings) -> None:
        assert official.to_build(lab, NOTHING, TOOLS) == OURS
        have(lab, *TOOLS)
        assert official.to_build(lab, NOTHING, []) == OURS

    def test_is_all_where_that_is_asked_for(self, lab: LabSettings, script: Script) -> None:
        have(lab, *TOOLS)
        script("path/pulumi", f"echo {PULUMI_VERSION}")
        forced = Choices(tools=Tools.BUILD)
        assert official.to_build(lab, forced, []) == [CLI, KUBE, DNS, *OURS]
        build(lab, CLI, KUBE)
        assert official.to_build(lab, forced, []) == [DNS, *OURS]

    def test_is_no_cli_where_a_person_has_one(self, lab: LabSettings, script: Script) -> None:
        script("path/pulumi", f"echo {PULUMI_VERSION}")
        assert CLI not in official.to_build(lab, NOTHING, [])


class TestSaid:
    """One line says what is done without releases; what was asked for by name is refused."""

    def test_in_one_line(self) -> None:
        plugins = [Plugin(plugin_cache.LANGUAGE_NAME, official=False)]
        plugins += [Plugin("kubernetes provider", official=True)]
        plugins += [Plugin("docker provider", official=False)]
        refusals = [*REFUSALS, Refusal(KUBERNETES, "dl.k8s.io: 404")]
        assert official.instead(refusals, [CLI, KUBE, STORAGE], plugins) == (
            "Official releases cannot be had (github.com: no way; dl.k8s.io: 404): "
            "building pulumi, kube; stand-ins for Python language host, docker provider."
        )

    def test_nothing_is_refused_that_was_left_to_the_lab(self) -> None:
        official.require_had(NOTHING, REFUSALS)
        official.require_had(Choices(Plugins.FOUND, Tools.BUILD), REFUSALS)
        official.require_had(Choices(Plugins.OFFICIAL, Tools.OFFICIAL), [])

    @pytest.mark.parametrize(
        ("choices", "names"),
        [
            (Choices(plugins=Plugins.OFFICIAL), [it.name for it in PROVIDERS]),
            (Choices(tools=Tools.OFFICIAL), ["pulumi", "coredns"]),
        ],
    )
    def test_what_was_asked_for_by_name_is_refused(
        self, choices: Choices, names: list[str]
    ) -> None:
        key = "tools" if choices.tools else "plugins"
        with pytest.raises(LabError) as caught:
            official.require_had(choices, REFUSALS)
        error = caught.value
        assert error.what == (
            f"{key}=official was asked for, and {', '.join(names)} cannot be downloaded"
        )
        assert error.why == "github.com: no way"
        assert error.state == "nothing was changed"
        assert f"leave out {key}=" in error.next
        assert error.code == EXIT_REFUSED


class Said(Steps):
    """Steps whose lines are kept."""

    def __init__(self) -> None:
        super().__init__(0)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class TestProvided:
    """`make up` on a machine that has nothing, with sites that are played here."""

    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with running() as it:
            yield it

    @pytest.fixture
    def near(
        self, lab: LabSettings, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[LabSettings, list[str]]:
        """A lab whose sites are the one played here, and what it builds."""
        built: list[str] = []
        one_at_a_time = threading.Lock()

        def compile_(builder: Toolchain, tool: Tool, _: Step) -> Path:
            with one_at_a_time:
                if not builder.is_built(tool):
                    built.append(tool.name)
                    build(lab, tool)
            return builder.path(tool)

        monkeypatch.setattr(Toolchain, "build", compile_)
        monkeypatch.setattr(preflight, "require", lambda *_, **__: None)
        monkeypatch.setattr(packages, "require_apt", lambda: None)
        monkeypatch.setattr(packages, "missing", list)
        monkeypatch.setattr(packages, "unpack", lambda _: None)
        for name in ("docker", "ctr"):
            program = packages.unpacked_root(lab) / "usr" / "bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.touch()
        monkeypatch.setattr(download, "reach", partial(download.reach, within=30))
        return replace(lab, github=site.url, kubernetes_site=site.url), built

    def test_is_by_what_the_sites_have(
        self, near: tuple[LabSettings, list[str]], site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab, built = near
        offered = {it: site.offer(lab, it, whole(it)) for it in releases.ALL}
        for name, digest in offered[KUBERNETES].pinned.items():
            monkeypatch.setitem(cast("dict[str, str]", KUBERNETES.pinned), name, digest)
        steps = Said()
        lifecycle._provide(lab, NOTHING, steps, nodes_wanted=1)
        assert built == [it.name for it in OURS]
        assert steps.lines == []
        assert all(plugin.official for plugin in plugin_cache.find(lab))

    def test_is_by_building_where_they_have_nothing(
        self, near: tuple[LabSettings, list[str]], site: Site
    ) -> None:
        lab, built = near
        steps = Said()
        lifecycle._provide(lab, NOTHING, steps, nodes_wanted=1)
        assert built == [it.name for it in (CLI, KUBE, DNS, *OURS)]
        [line] = steps.lines
        assert line.startswith("Official releases cannot be had (127.0.0.1:")
        assert line.endswith(
            "building pulumi, kube, coredns; "
            "stand-ins for Python language host, kubernetes provider, docker provider."
        )
        assert not any(plugin.official for plugin in plugin_cache.find(lab))
        assert len(site.asked) == len(releases.ALL)
        plugin_cache.install(lab)
        lifecycle._provide(lab, NOTHING, steps, nodes_wanted=1)
        assert len(site.asked) == len(releases.ALL), "a lab that is there asks nobody"

    def test_is_by_building_what_breaks_on_the_way(
        self, near: tuple[LabSettings, list[str]], site: Site
    ) -> None:
        lab, built = near
        for release in releases.ALL:
            site.offer(lab, release, whole(release))
        site.manners[site.path(lab, COREDNS)] = "cut"
        steps = Said()
        lifecycle._provide(lab, NOTHING, steps, nodes_wanted=1)
        wanted = sorted(it.name for it in (DNS, KUBE, *OURS))
        assert sorted(built) == wanted, "Kubernetes' pin is another"
        [line] = steps.lines
        assert "not the pinned" in line
        assert "the transfer was cut" in line
        assert line.endswith(": building kube, coredns.")
        assert steps.number == steps.count + 1, "but for the packages, all are counted here"

    def test_is_refused_where_it_breaks_and_was_asked_for(
        self, near: tuple[LabSettings, list[str]], site: Site
    ) -> None:
        lab, _ = near
        for release in PROVIDERS:
            site.offer(lab, release, whole(release))
        site.manners[site.path(lab, PROVIDERS[0])] = "cut"
        with pytest.raises(LabError, match="plugins=official was asked for") as caught:
            lifecycle._provide(lab, Choices(Plugins.OFFICIAL, Tools.BUILD), Said(), nodes_wanted=1)
        assert not plugin_cache.programs(lab).exists()
        assert caught.value.state == "nothing was started; what came whole is kept"
        assert releases.is_there(lab, PROVIDERS[1])

    def test_asks_nobody_where_both_are_ruled_out(
        self, near: tuple[LabSettings, list[str]], site: Site
    ) -> None:
        lab, built = near
        steps = Said()
        lifecycle._provide(lab, Choices(Plugins.STAND_IN, Tools.BUILD), steps, nodes_wanted=1)
        assert (site.asked, steps.lines, len(built)) == ([], [], 3 + len(OURS))
