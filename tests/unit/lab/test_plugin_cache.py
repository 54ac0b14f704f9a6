"""Official plugins and CLI are used where they are, stand-ins elsewhere, nothing unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab import plugin_cache, releases
from lab.errors import EXIT_REFUSED, LabError
from lab.plugin_cache import Plugin
from lab.releases import PROVIDERS
from lab.settings import LabSettings
from lab.toolchain import PULUMI, PULUMI_VERSION, Toolchain

Script = Callable[[str, str], Path]
KUBERNETES = f"resource-kubernetes-v{PROVIDERS['kubernetes']}"
PROGRAM = "pulumi-resource-kubernetes"


@pytest.fixture(autouse=True)
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person with an empty home directory and a PATH of one empty directory."""
    home = tmp_path / "home"
    (tmp_path / "path").mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return home


@pytest.fixture
def built(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """A lab that has built its own CLI and fetched the executor."""
    (lab.checkout / "lab" / "tools" / PULUMI.module).mkdir(parents=True)
    own = Toolchain(lab).path(PULUMI)
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "$@ $PULUMI_HOME" >> "$0.calls"\n')
    own.chmod(0o755)
    monkeypatch.setattr(Toolchain, "language_executor", lambda _: Path("/cache/it's/executor"))
    return lab


def installed(lab: LabSettings) -> Path:
    return lab.pulumi_home / "plugins" / KUBERNETES / PROGRAM


class TestCli:
    """A CLI on PATH is used when it is of the SDK's major version and not older."""

    @pytest.mark.parametrize(
        ("version", "fits"),
        [
            (f"v{PULUMI_VERSION}", True),
            (PULUMI_VERSION, True),
            ("v3.260.0", True),
            ("v3.1000.0-alpha.1+abc", True),
            ("v3.258.9", False),
            ("v3.99.0", False),
            ("v4.0.0", False),
            ("v2.300.0", False),
            ("unknown", False),
            ("", False),
        ],
    )
    def test_is_chosen_by_version(self, script: Script, version: str, fits: bool) -> None:
        program = script("path/pulumi", f"echo '{version}'")
        assert plugin_cache.find_cli(str(program.parent)) == (program if fits else None)

    def test_is_none_without_one(self, tmp_path: Path) -> None:
        assert plugin_cache.find_cli(str(tmp_path)) is None

    def test_is_the_labs_own_otherwise(self, built: LabSettings, script: Script) -> None:
        script("path/pulumi", "echo v3.1.0")
        assert plugin_cache.cli(built) == Toolchain(built).path(PULUMI)

    def test_behind_the_labs_own_link_is_not_found_again(
        self, built: LabSettings, monkeypatch: pytest.MonkeyPatch, script: Script
    ) -> None:
        script("state/bin/pulumi", f"echo {PULUMI_VERSION}")
        monkeypatch.setenv("PATH", f"{plugin_cache.programs(built)}:/nowhere")
        assert plugin_cache.outer_path(built) == "/nowhere"
        assert plugin_cache.cli(built) == Toolchain(built).path(PULUMI)


class TestStandIns:
    """On a machine without Pulumi's plugins."""

    def test_are_used_for_all_and_say_so(self, built: LabSettings) -> None:
        assert plugin_cache.install(built) == [
            Plugin("Python language host", official=False),
            Plugin("kubernetes provider", official=False),
            Plugin("docker provider", official=False),
        ]

    def test_download_nothing(self, built: LabSettings) -> None:
        plugin_cache.install(built)
        assert not Toolchain(built).path(PULUMI).with_name("pulumi.calls").exists()

    def test_start_the_labs_module_with_its_arguments(self, built: LabSettings) -> None:
        plugin_cache.install(built)
        text = installed(built).read_text()
        assert plugin_cache.STAND_IN_MARK in text
        assert f'exec {sys.executable} -m lab.plugins.kubernetes "$@"' in text
        assert os.access(installed(built), os.X_OK)

    def test_survive_odd_characters_in_paths(self, built: LabSettings, tmp_path: Path) -> None:
        odd = replace(built, checkout=tmp_path / "it's $HOME")
        module = odd.checkout / "lab" / "plugins" / "echo.py"
        module.parent.mkdir(parents=True)
        # A package of its own, or the `lab` of this environment would be found first.
        for package in (module.parent, module.parent.parent):
            (package / "__init__.py").touch()
        module.write_text("import os, sys; print(sys.argv[1:], os.environ['WORD'])\n")
        target = tmp_path / "program"
        plugin_cache._write_program(odd, target, "lab.plugins.echo", {"WORD": "it's"})
        shown = subprocess.run(
            [target, "a b"], cwd="/", capture_output=True, text=True, check=True
        ).stdout
        assert shown == "['a b'] it's\n"

    def test_are_written_once(self, built: LabSettings) -> None:
        plugin_cache.install(built)
        before = installed(built).stat()
        plugin_cache.install(built)
        assert installed(built).stat().st_ino == before.st_ino
        assert [path.name for path in installed(built).parent.iterdir()] == [PROGRAM]

    def test_follow_a_checkout_that_moved(self, built: LabSettings) -> None:
        plugin_cache.install(built)
        plugin_cache._write_program(
            replace(built, checkout=Path("/moved")), installed(built), "lab.plugins.kubernetes", {}
        )
        assert "PYTHONPATH=/moved\n" in installed(built).read_text()


class TestOfficial:
    """What a person has is linked, never copied or replaced."""

    def test_provider_in_the_persons_home_is_linked(
        self, built: LabSettings, person: Path, script: Script
    ) -> None:
        theirs = script(f"home/.pulumi/plugins/{KUBERNETES}/{PROGRAM}", "exit 0")
        assert theirs.is_relative_to(person)
        plugins = plugin_cache.install(built)
        assert Plugin("kubernetes provider", official=True) in plugins
        assert installed(built).readlink() == theirs

    def test_provider_in_another_pulumi_home_is_linked(
        self, built: LabSettings, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        theirs = script(f"other/plugins/{KUBERNETES}/{PROGRAM}", "exit 0")
        monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "other"))
        plugin_cache.install(built)
        assert installed(built).readlink() == theirs

    def test_provider_on_path_is_linked(self, built: LabSettings, script: Script) -> None:
        theirs = script(f"path/{PROGRAM}", "exit 0")
        plugin_cache.install(built)
        assert installed(built).readlink() == theirs

    def test_path_comes_before_home_as_it_does_for_the_engine(
        self, built: LabSettings, script: Script
    ) -> None:
        theirs = script(f"path/{PROGRAM}", "exit 0")
        script(f"home/.pulumi/plugins/{KUBERNETES}/{PROGRAM}", "exit 0")
        plugin_cache.install(built)
        assert installed(built).readlink() == theirs

    def test_of_another_version_is_not_used(self, built: LabSettings, script: Script) -> None:
        script(f"home/.pulumi/plugins/resource-kubernetes-v4.1.0/{PROGRAM}", "exit 0")
        plugin_cache.install(built)
        assert plugin_cache._is_stand_in(installed(built))

    def test_takes_the_place_of_a_stand_in_and_gives_it_back(
        self, built: LabSettings, script: Script
    ) -> None:
        plugin_cache.install(built)
        theirs = script(f"path/{PROGRAM}", "exit 0")
        plugin_cache.install(built)
        assert installed(built).readlink() == theirs
        theirs.unlink()
        plugin_cache.install(built)
        assert plugin_cache._is_stand_in(installed(built))

    def test_language_host_beside_the_cli_is_linked(
        self, built: LabSettings, script: Script
    ) -> None:
        script("path/pulumi", f"echo {PULUMI_VERSION}")
        host = script("path/pulumi-language-python", "exit 0")
        first, *_ = plugin_cache.install(built)
        assert first == Plugin("Python language host", official=True)
        assert (plugin_cache.programs(built) / host.name).readlink() == host


class TestReleases:
    """What the lab downloaded is official, after what a person has."""

    @pytest.fixture
    def cached(self, built: LabSettings, script: Script) -> LabSettings:
        """All of Pulumi's releases in the cache."""
        for release in (releases.PULUMI, *releases.OF_PROVIDERS.values()):
            place = releases.directory(built, release).relative_to(built.cache.parent)
            for name in release.needed:
                script(f"{place}/{name}", f"echo {PULUMI_VERSION}")
        return built

    def test_are_linked(self, cached: LabSettings) -> None:
        plugins = plugin_cache.install(cached)
        assert all(plugin.official for plugin in plugins)
        assert [plugin.path.parent for plugin in plugins] == [
            releases.directory(cached, it)
            for it in (releases.PULUMI, *releases.OF_PROVIDERS.values())
        ]
        assert installed(cached).readlink() == plugins[1].path
        assert plugin_cache.in_use(cached) == plugins
        assert plugin_cache.cli(cached) == releases.directory(cached, releases.PULUMI) / "pulumi"

    def test_come_after_what_a_person_has(self, cached: LabSettings, script: Script) -> None:
        theirs = script(f"path/{PROGRAM}", "exit 0")
        cli = script("path/pulumi", f"echo {PULUMI_VERSION}")
        plugin_cache.install(cached)
        assert installed(cached).readlink() == theirs
        assert plugin_cache.cli(cached) == cli

    def test_are_left_where_stand_ins_are_asked_for(self, cached: LabSettings) -> None:
        plugin_cache.install(cached)
        plugins = plugin_cache.install(cached, stand_ins=True)
        assert not any(plugin.official for plugin in plugins)
        assert [(it, it.path) for it in plugin_cache.in_use(cached)] == [
            (it, it.path) for it in plugins
        ]
        host = plugin_cache.programs(cached) / plugin_cache.LANGUAGE
        executor = releases.directory(cached, releases.PULUMI) / plugin_cache.EXECUTOR
        assert f"AEGIS_LANGUAGE_EXEC={executor}\n" in host.read_text()
        assert host.with_name(plugin_cache.EXECUTOR).resolve() == executor.resolve()
        plugin_cache.install(cached)
        assert all(plugin.official for plugin in plugin_cache.in_use(cached))

    def test_give_way_to_our_own_build_where_that_is_asked_for(self, cached: LabSettings) -> None:
        releases.build_tools(cached, forced=True)
        assert plugin_cache.cli(cached) == Toolchain(cached).path(PULUMI)
        assert plugin_cache.find(cached)[0].official, "plugins are another choice"
        releases.build_tools(cached, forced=False)
        assert plugin_cache.cli(cached) == releases.directory(cached, releases.PULUMI) / "pulumi"

    def test_of_the_cli_is_a_file_where_a_stand_in_is_to_run_beside_it(
        self, cached: LabSettings
    ) -> None:
        placed = plugin_cache.programs(cached) / "pulumi"
        for stand_ins in (True, False):
            plugin_cache.link_programs(
                cached, {"pulumi": plugin_cache.cli(cached)}, stand_ins=stand_ins
            )
            assert placed.is_symlink() is not stand_ins

    def test_downloaded_by_the_cli_itself_are_kept(
        self, built: LabSettings, script: Script
    ) -> None:
        for name, version in PROVIDERS.items():
            directory = f"state/pulumi/plugins/resource-{name}-v{version}"
            script(f"{directory}/pulumi-resource-{name}", "exit 0")
        plugins = plugin_cache.install(built)
        assert [plugin.official for plugin in plugins] == [False, True, True]
        assert not installed(built).is_symlink()


class TestForcedStandIns:
    """The engine prefers what is on PATH, so that a promise of stand-ins would be none."""

    def test_are_refused_beside_an_official_provider_on_path(
        self, built: LabSettings, script: Script
    ) -> None:
        plugin_cache.require_none_on_path(built)
        theirs = script(f"path/{PROGRAM}", "exit 0")
        with pytest.raises(LabError, match="plugins=standin cannot be used here") as caught:
            plugin_cache.require_none_on_path(built)
        assert str(theirs) in caught.value.why
        assert caught.value.code == EXIT_REFUSED


class TestLinks:
    """The programs of the lab's shell."""

    def test_are_made_and_moved(self, built: LabSettings, script: Script) -> None:
        directory = plugin_cache.programs(built)
        for body in ("one", "two"):
            program = script(f"{body}/kubectl", "exit 0")
            plugin_cache.link_programs(built, {"kubectl": program})
            plugin_cache.link_programs(built, {"kubectl": program})
            assert (directory / "kubectl").readlink() == program
        assert {path.name for path in directory.iterdir()} == {"kubectl"}

    def test_do_not_include_the_labs_own_cli_which_is_a_file(self, built: LabSettings) -> None:
        own = Toolchain(built).path(PULUMI)
        for _ in range(2):
            plugin_cache.link_programs(built, {"pulumi": own})
            placed = plugin_cache.programs(built) / "pulumi"
            assert not placed.is_symlink()
            assert placed.read_bytes() == own.read_bytes()
            assert os.access(placed, os.X_OK)

    def test_to_nowhere_are_refused(self, lab: LabSettings, tmp_path: Path) -> None:
        with pytest.raises(LabError, match="kubectl is not there"):
            plugin_cache.link_programs(lab, {"kubectl": tmp_path / "none"})
