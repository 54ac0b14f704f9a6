"""Which Pulumi plugins the lab uses: the official ones where they are, else the stand-ins.

The lab has a PULUMI_HOME of its own, so a stand-in never shadows a plugin that a person has.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.command import run
from lab.errors import LabError, refused
from lab.settings import LabSettings
from lab.toolchain import PULUMI, PULUMI_VERSION, Toolchain

PROVIDERS = {"kubernetes": "4.32.0", "docker": "5.2.0"}
"""Provider -> version: that of the Python packages in requirements.txt, as the engine asks."""


@dataclass(frozen=True)
class Plugin:
    """A plugin as the lab will run it.

    Attributes:
        name: For people: "kubernetes provider".
        official: Whether it is Pulumi's own, else the lab's stand-in.
    """

    name: str
    official: bool


def programs(settings: LabSettings) -> Path:
    """Return the directory that the lab's shell has first on its PATH."""
    return settings.state / "bin"


def find_cli(search_path: str) -> Path | None:
    """Return a Pulumi CLI that fits the pinned SDK, if one is on a search path.

    Args:
        search_path: Directories, as in PATH.
    """
    found = shutil.which("pulumi", path=search_path)
    if found is None:
        return None
    try:
        text = run([found, "version"], what="ask pulumi for its version").strip().removeprefix("v")
    except LabError:
        # One that cannot even say its version does not fit.
        return None
    numbers = [int(part) if part.isdigit() else 0 for part in text.split("-")[0].split(".")]
    wanted = [int(part) for part in PULUMI_VERSION.split(".")]
    fits = numbers[:1] == wanted[:1] and numbers >= wanted
    return Path(found).resolve() if fits else None


def cli(settings: LabSettings) -> Path:
    """Return the Pulumi CLI of the lab: a fitting one on PATH, else the lab's own build."""
    return find_cli(outer_path(settings)) or Toolchain(settings).path(PULUMI)


def outer_path(settings: LabSettings) -> str:
    """Return PATH without the lab's own directory: its shell may be the one that calls us.

    Args:
        settings: The lab.
    """
    own = str(programs(settings))
    return os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own)


def install(settings: LabSettings, *, download: bool) -> list[Plugin]:
    """Put the plugins where the lab's engine looks, and return which ones they are.

    Args:
        settings: The lab.
        download: Ask the CLI to install official providers that are not on the machine.
            Never done unasked: a closed network answers such a download only by a time-out.

    Raises:
        LabError: A download was asked for and failed.
    """
    language = _install_language(settings)
    return [language, *(_install_provider(settings, p, download=download) for p in PROVIDERS)]


def _persons_home(settings: LabSettings) -> Path:
    """Return the PULUMI_HOME that a person uses outside the lab's shell."""
    home = os.environ.get("PULUMI_HOME")
    return Path(home) if home and Path(home) != settings.pulumi_home else Path.home() / ".pulumi"


def _install_language(settings: LabSettings) -> Plugin:
    name = "pulumi-language-python"
    target = programs(settings) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = cli(settings).with_name(name)
    found = shutil.which(name, path=outer_path(settings))
    official = beside if beside.exists() else Path(found) if found else None
    if official is not None:
        _replace_by_link(target, official)
    else:
        executor = Toolchain(settings).language_executor()
        _write_program(
            settings, target, "lab.plugins.language", {"AEGIS_LANGUAGE_EXEC": str(executor)}
        )
    return Plugin("Python language host", official is not None)


def _install_provider(settings: LabSettings, provider: str, *, download: bool) -> Plugin:
    version = PROVIDERS[provider]
    program = f"pulumi-resource-{provider}"
    directory = settings.pulumi_home / "plugins" / f"resource-{provider}-v{version}"
    plugin = Plugin(f"{provider} provider", official=True)
    theirs = _persons_home(settings) / "plugins" / directory.name / program
    on_path = shutil.which(program, path=outer_path(settings))
    if theirs.exists() or on_path:
        directory.mkdir(parents=True, exist_ok=True)
        _replace_by_link(directory / program, theirs if theirs.exists() else Path(str(on_path)))
        return plugin
    if download:
        if not _is_stand_in(directory / program) and (directory / program).exists():
            return plugin
        shutil.rmtree(directory, ignore_errors=True)
        run(
            [cli(settings), "plugin", "install", "resource", provider, version],
            what=f"install the official {plugin.name}",
            env={**os.environ, "PULUMI_HOME": str(settings.pulumi_home)},
            timeout=300,
            next_step="plain `make up` uses the lab's stand-ins",
        )
        return plugin
    if (directory / program).exists() and not _is_stand_in(directory / program):
        return plugin
    directory.mkdir(parents=True, exist_ok=True)
    _write_program(settings, directory / program, f"lab.plugins.{provider}", {})
    return Plugin(plugin.name, official=False)


STAND_IN_MARK = "# A stand-in of the Aegis lab"


def _is_stand_in(program: Path) -> bool:
    try:
        return STAND_IN_MARK.encode() in program.read_bytes()[:200]
    except OSError:
        return False


def _write_program(
    settings: LabSettings, target: Path, module: str, environment: dict[str, str]
) -> None:
    exports = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in environment.items())
    text = (
        f"#!/bin/sh\n{STAND_IN_MARK}, not an official Pulumi plugin.\n{exports}"
        f"export PYTHONPATH={shlex.quote(str(settings.checkout))}\n"
        f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
    )
    if target.is_file() and not target.is_symlink() and target.read_text() == text:
        return
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(text)
    partial.chmod(0o755)
    partial.replace(target)


def link_programs(settings: LabSettings, programs_by_name: dict[str, Path]) -> None:
    """Put links to programs into the directory that the lab's shell has on its PATH.

    Args:
        settings: The lab.
        programs_by_name: Name -> the program.

    Raises:
        LabError: A program does not exist.
    """
    directory = programs(settings)
    directory.mkdir(parents=True, exist_ok=True)
    own_build = Toolchain(settings).path(PULUMI)
    for name, path in programs_by_name.items():
        if path == own_build and path.exists():
            _place_cli(settings)
            continue
        if not path.exists():
            raise refused(f"{name} is not there", f"{path} does not exist", "make up")
        _replace_by_link(directory / name, path)


def _place_cli(settings: LabSettings) -> None:
    """Put our own build of the CLI into the directory as a file, not as a symbolic link.

    The engine looks for language hosts beside its executable, links followed, and warns each
    time it has to take one from PATH.
    """
    source, target = Toolchain(settings).path(PULUMI), programs(settings) / "pulumi"
    if target.exists() and not target.is_symlink() and target.samefile(source):
        return
    partial = target.with_name("pulumi.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(source)
    except OSError:
        # Cache and state on two file systems.
        shutil.copy2(source, partial)
    partial.replace(target)


def _replace_by_link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    partial = link.with_name(f"{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(link)
