"""Which official plugins a machine has is found before anything is done, and said as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab import choices, plugin_cache
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError
from lab.plugin_cache import LANGUAGE, LANGUAGE_NAME, STAND_IN_MARK, Plugin
from lab.releases import PROVIDERS
from lab.settings import LabSettings
from lab.toolchain import PULUMI_VERSION

Script = Callable[[str, str], Path]
NAMES = [LANGUAGE_NAME, *(f"{provider} provider" for provider in PROVIDERS)]
PROGRAMS = [LANGUAGE, *(f"pulumi-resource-{provider}" for provider in PROVIDERS)]
pytestmark = pytest.mark.usefixtures("nothing_installed")


def official(plugins: list[Plugin]) -> list[str]:
    return [plugin.name for plugin in plugins if plugin.official]


class TestFound:
    """What `find` says is what `install` then does."""

    def test_is_nothing_on_a_machine_without_any(self, lab: LabSettings) -> None:
        found = plugin_cache.find(lab)
        assert [plugin.name for plugin in found] == NAMES
        assert official(found) == []
        assert list(lab.state.iterdir()) == []

    def test_on_path_is_each_with_its_path(self, lab: LabSettings, script: Script) -> None:
        paths = [script(f"path/{name}", "exit 0") for name in PROGRAMS]
        assert [plugin.path for plugin in plugin_cache.find(lab)] == paths
        assert official(plugin_cache.find(lab)) == NAMES

    def test_in_the_persons_home_are_the_providers(self, lab: LabSettings, script: Script) -> None:
        for name, version in PROVIDERS.items():
            directory = f"home/.pulumi/plugins/resource-{name}-v{version}"
            script(f"{directory}/pulumi-resource-{name}", "exit 0")
        assert official(plugin_cache.find(lab)) == NAMES[1:]

    def test_beside_the_cli_is_the_language_host(self, lab: LabSettings, script: Script) -> None:
        script("release/pulumi", f"echo {PULUMI_VERSION}")
        host = script(f"release/{LANGUAGE}", "exit 0")
        Path(lab.state.parent / "path" / "pulumi").symlink_to(host.with_name("pulumi"))
        assert plugin_cache.find(lab)[0].path == host

    def test_downloaded_by_an_earlier_up_are_found(self, lab: LabSettings, script: Script) -> None:
        version = PROVIDERS["docker"]
        script(f"state/pulumi/plugins/resource-docker-v{version}/pulumi-resource-docker", "exit 0")
        assert official(plugin_cache.find(lab)) == ["docker provider"]

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_is_no_stand_in_of_another_lab_that_is_on_path(
        self, lab: LabSettings, script: Script, program: str
    ) -> None:
        script(f"path/{program}", f"{STAND_IN_MARK}, not an official Pulumi plugin.")
        assert official(plugin_cache.find(lab)) == []

    def test_is_what_is_behind_a_stand_in_on_path(
        self, lab: LabSettings, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = script(f"path/{LANGUAGE}", STAND_IN_MARK).parent
        host = script(f"behind/{LANGUAGE}", "exit 0")
        monkeypatch.setenv("PATH", f"{first}:{host.parent}")
        assert plugin_cache.find(lab)[0].path == host

    @pytest.mark.parametrize("there", [[], PROGRAMS[:1], PROGRAMS[1:2], PROGRAMS])
    def test_is_what_is_installed_and_then_in_use(
        self, lab: LabSettings, script: Script, there: list[str]
    ) -> None:
        for name in there:
            script(f"path/{name}", "exit 0")
        found = plugin_cache.find(lab)
        assert len(official(found)) == len(there)
        for plugins in (plugin_cache.install(lab), plugin_cache.in_use(lab)):
            assert [(it, it.path) for it in plugins] == [(it, it.path) for it in found]


class TestInUse:
    """What runs in a lab that is up is not what was found since."""

    def test_is_the_stand_in_until_the_lab_is_brought_up_again(
        self, lab: LabSettings, script: Script
    ) -> None:
        plugin_cache.install(lab)
        script(f"path/{LANGUAGE}", "exit 0")
        assert official(plugin_cache.find(lab)) == [LANGUAGE_NAME]
        assert official(plugin_cache.in_use(lab)) == []

    def test_is_a_provider_on_path_since_the_engine_takes_it(
        self, lab: LabSettings, script: Script
    ) -> None:
        plugin_cache.install(lab)
        script("path/pulumi-resource-docker", "exit 0")
        assert official(plugin_cache.in_use(lab)) == ["docker provider"]

    def test_is_nothing_official_where_no_lab_was(self, lab: LabSettings) -> None:
        elsewhere = replace(lab, state=lab.state / "none")
        assert official(plugin_cache.in_use(elsewhere)) == []


class TestSaid:
    """The first line tells a green run's reader what it ran on."""

    @pytest.mark.parametrize(
        ("there", "kind"),
        [
            (NAMES, "all official"),
            ([], "the lab's stand-ins"),
            (NAMES[1:], f"official, but stand-ins for: {LANGUAGE_NAME}"),
            (NAMES[:1], f"official, but stand-ins for: {NAMES[1]}, {NAMES[2]}"),
        ],
    )
    def test_is_of_which_kind_all_are_and_then_each_with_its_path(
        self, there: list[str], kind: str
    ) -> None:
        plugins = [Plugin(it, it in there, Path(f"/bin/{i}")) for i, it in enumerate(NAMES)]
        first, *lines = plugin_cache.said(plugins)
        assert first == f"Pulumi's plugins: {kind}"
        assert [line.split()[-1] for line in lines] == ["/bin/0", "/bin/1", "/bin/2"]


class TestRequired:
    """Who asks for official plugins gets those that are there, and no run on stand-ins alone."""

    @pytest.mark.parametrize("there", [NAMES, *([name] for name in NAMES)])
    def test_is_content_with_those_that_are_there(self, there: list[str]) -> None:
        plugin_cache.require_official([Plugin(name, official=name in there) for name in NAMES])

    def test_says_where_it_looked_for_what_and_how_to_get_it(self) -> None:
        with pytest.raises(LabError) as caught:
            plugin_cache.require_official([Plugin(name, official=False) for name in NAMES])
        error = caught.value
        assert error.code == EXIT_REFUSED
        assert all(name in error.why for name in NAMES)
        assert "release archive" in error.next
        assert "make up plugins=official" in error.next

    def test_names_what_the_lab_was_brought_up_without(
        self, lab: LabSettings, script: Script
    ) -> None:
        plugin_cache.install(lab)
        plugin_cache.require_brought_up(lab)
        script(f"path/{LANGUAGE}", "exit 0")
        script("path/pulumi-resource-docker", "exit 0")  # On PATH: the engine takes it as it is.
        with pytest.raises(LabError) as caught:
            plugin_cache.require_brought_up(lab)
        assert caught.value.what.endswith(f"officially: {LANGUAGE_NAME}")
        assert caught.value.code == EXIT_REFUSED
        plugin_cache.install(lab)
        plugin_cache.require_brought_up(lab)

    def test_refuses_official_ones_where_stand_ins_are_asked_for(self) -> None:
        plugin_cache.require_stand_ins([Plugin(name, official=False) for name in NAMES])
        with pytest.raises(LabError, match=f"officially: {NAMES[1]}\n") as caught:
            plugin_cache.require_stand_ins([Plugin(it, official=it == NAMES[1]) for it in NAMES])
        assert caught.value.code == EXIT_REFUSED
        assert caught.value.next.startswith("make test plugins=standin")


class TestChoice:
    """`plugins=` and `tools=` know their words."""

    def test_is_one_of_them_or_left_out(self) -> None:
        words: tuple[str | None, ...] = ("official", "found", "standin", None)
        assert tuple(choices.plugins(word) for word in words) == words
        assert [choices.tools(word) for word in ("official", "build", None)] == [
            "official",
            "build",
            None,
        ]

    @pytest.mark.parametrize("word", ["offical", "Official", "", "stand-in", "build"])
    def test_is_refused_otherwise(self, word: str) -> None:
        with pytest.raises(LabError) as caught:
            choices.plugins(word)
        assert caught.value.what == f"plugins={word} cannot be used"
        assert caught.value.why == (
            "known are plugins=official (refused when no official one is there); plugins=found "
            "(official ones where they are, else the lab's stand-ins, and downloads none); "
            "plugins=standin (the lab's stand-ins alone)"
        )
        assert caught.value.code == EXIT_USAGE

    @pytest.mark.parametrize("word", ["found", "Build", "", "standin"])
    def test_of_tools_is_refused_otherwise(self, word: str) -> None:
        with pytest.raises(LabError, match=f"tools={word} cannot be used") as caught:
            choices.tools(word)
        assert caught.value.why == (
            "known are tools=official (refused when they cannot be downloaded); "
            "tools=build (built here from their sources)"
        )
