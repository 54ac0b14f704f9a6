"""Which Pulumi plugins the lab uses: the official ones where they are, else the stand-ins.

The lab has a PULUMI_HOME of its own, so a stand-in never shadows a plugin that a person has.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import releases
from lab.choices import Plugins
from lab.command import run
from lab.errors import LabError, refused
from lab.releases import PROVIDERS
from lab.settings import LabSettings
from lab.toolchain import PULUMI, PULUMI_VERSION, Toolchain

LANGUAGE = "pulumi-language-python"
EXECUTOR = f"{LANGUAGE}-exec"
LANGUAGE_NAME = "Python language host"


@dataclass(frozen=True)
class Plugin:
    """A plugin as the lab will run it.

    Attributes:
        name: For people: "kubernetes provider".
        official: Whether it is Pulumi's own, else the lab's stand-in.
        path: The program.
    """

    name: str
    official: bool
    path: Path = field(default=Path(), compare=False)

    def __str__(self) -> str:
        """Return a line that says what it is and where."""
        return f"{self.name:<22}{'official' if self.official else 'stand-in':<10}{self.path}"


def find(settings: LabSettings, *, stand_ins: bool = False) -> list[Plugin]:
    """Return which plugins the lab takes as this machine is, changing and downloading nothing.

    Args:
        settings: The lab.
        stand_ins: Take stand-ins whatever is there.
    """
    language = None if stand_ins else _official_language(settings)
    found = [_plugin(LANGUAGE_NAME, language, programs(settings) / LANGUAGE)]
    for provider in PROVIDERS:
        own = _place(settings, provider)
        path = _official_provider(settings, provider) or (own if _is_official(own) else None)
        found.append(_plugin(f"{provider} provider", None if stand_ins else path, own))
    return found


def in_use(settings: LabSettings) -> list[Plugin]:
    """Return which plugins the engine runs in a lab that was brought up.

    Args:
        settings: The lab.
    """
    language = programs(settings) / LANGUAGE
    used = [_plugin(LANGUAGE_NAME, language if _is_official(language) else None, language)]
    for provider in PROVIDERS:
        own = _place(settings, provider)
        # One on PATH is what the engine takes, whatever is in its cache.
        path = _on_path(own.name, outer_path(settings)) or (own if _is_official(own) else None)
        used.append(_plugin(f"{provider} provider", path, own))
    return used


def _plugin(name: str, official: Path | None, stand_in: Path) -> Plugin:
    # Where a link leads says more than where it is.
    path = stand_in if official is None else official.resolve()
    return Plugin(name, official is not None, path)


def said(plugins: Sequence[Plugin]) -> list[str]:
    """Return the lines that say which plugins are official: all in the first, then one each.

    Args:
        plugins: What `find` or `in_use` returned.
    """
    missing = [plugin.name for plugin in plugins if not plugin.official]
    kind = {0: "all official", len(plugins): "the lab's stand-ins"}.get(
        len(missing), f"official, but stand-ins for: {', '.join(missing)}"
    )
    return [f"Pulumi's plugins: {kind}", *(f"  {plugin}" for plugin in plugins)]


def require_official(plugins: Sequence[Plugin]) -> None:
    """Check that official plugins are there to run on; one that is missing has its stand-in.

    Args:
        plugins: What `find` or `in_use` returned.

    Raises:
        LabError: All are stand-ins; the message says how to get official ones.
    """
    if any(plugin.official for plugin in plugins):
        return
    raise refused(
        "official plugins were asked for, and none is there",
        "looked for on PATH, beside the pulumi CLI, in PULUMI_HOME and in the lab's cache: "
        + ", ".join(plugin.name for plugin in plugins),
        f"`make up plugins={Plugins.OFFICIAL}` downloads them; where that is not possible,\n"
        "put the Pulumi CLI's release archive, which has the language host, on PATH;\n"
        "without plugins= the lab's stand-ins are used",
    )


def require_stand_ins(plugins: Sequence[Plugin]) -> None:
    """Check that a lab that is up runs stand-ins alone.

    Args:
        plugins: What `in_use` returned.

    Raises:
        LabError: It runs official ones.
    """
    if theirs := [plugin.name for plugin in plugins if plugin.official]:
        raise refused(
            f"stand-ins were asked for, and the lab runs officially: {', '.join(theirs)}",
            f"it was brought up without plugins={Plugins.STAND_IN}",
            f"make test plugins={Plugins.STAND_IN}, which brings it up with stand-ins",
        )


def require_none_on_path(settings: LabSettings) -> None:
    """Check that the engine would take a stand-in of a provider that the lab has.

    Raises:
        LabError: PATH has an official one, which the engine takes whatever the lab has.
    """
    names = [_place(settings, provider).name for provider in PROVIDERS]
    there = [found for name in names if (found := _on_path(name, outer_path(settings)))]
    if there:
        raise refused(
            f"plugins={Plugins.STAND_IN} cannot be used here",
            f"the engine takes what is on PATH first: {', '.join(map(str, there))}",
            f"take {'it' if len(there) == 1 else 'them'} off PATH, or leave out plugins=",
        )


def require_brought_up(settings: LabSettings) -> None:
    """Check that a lab that is up runs the official plugins that this machine has.

    Args:
        settings: The lab.

    Raises:
        LabError: It was brought up without some of them; the message names them.
    """
    there = {plugin.name for plugin in find(settings) if plugin.official}
    behind = [p.name for p in in_use(settings) if p.name in there and not p.official]
    if behind:
        raise refused(
            f"the lab runs stand-ins for what is there officially: {', '.join(behind)}",
            "it was brought up before these were on this machine, or from a shell without them",
            f"make test plugins={Plugins.OFFICIAL}, which brings it up with them",
        )


def official_language(cli: Path, search_path: str) -> Path | None:
    """Return the official Python language host: that beside a CLI, else one on a search path.

    Args:
        cli: The Pulumi CLI.
        search_path: Directories, as in PATH.
    """
    beside = cli.resolve().with_name(LANGUAGE)
    return beside if _is_official(beside) else _on_path(LANGUAGE, search_path)


def _official_language(settings: LabSettings) -> Path | None:
    """Return the official language host of this machine: a person's, else that of the cache."""
    theirs = official_language(cli(settings), outer_path(settings))
    return theirs or releases.program(settings, releases.PULUMI, LANGUAGE)


def _official_provider(settings: LabSettings, provider: str) -> Path | None:
    """Return an official provider; on PATH first, which is the engine's order, then a person's."""
    place = _place(settings, provider)
    theirs = _persons_home(settings) / "plugins" / place.parent.name / place.name
    on_path = _on_path(place.name, outer_path(settings))
    return (
        on_path
        or (theirs if _is_official(theirs) else None)
        or releases.program(settings, releases.OF_PROVIDERS[provider], place.name)
    )


def _place(settings: LabSettings, provider: str) -> Path:
    """Return where the lab's engine looks for a provider that is not on PATH."""
    directory = f"resource-{provider}-v{PROVIDERS[provider]}"
    return settings.pulumi_home / "plugins" / directory / f"pulumi-resource-{provider}"


def _on_path(name: str, search_path: str) -> Path | None:
    """Return the first official program of a name: another lab's shell has a stand-in on PATH."""
    for directory in search_path.split(os.pathsep):
        found = shutil.which(name, path=directory) if directory else None
        if found is not None and _is_official(Path(found)):
            return Path(found)
    return None


def _is_official(program: Path) -> bool:
    return program.exists() and not _is_stand_in(program)


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
    """Return the Pulumi CLI of the lab: a fitting one on PATH, a release's, else our own build."""
    built = Toolchain(settings).path(PULUMI)
    if releases.builds_tools(settings):
        return built
    own = releases.program(settings, releases.PULUMI, PULUMI.name)
    return find_cli(outer_path(settings)) or own or built


def outer_path(settings: LabSettings) -> str:
    """Return PATH without the lab's own directory: its shell may be the one that calls us.

    Args:
        settings: The lab.
    """
    own = str(programs(settings))
    return os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own)


def install(settings: LabSettings, *, stand_ins: bool = False) -> list[Plugin]:
    """Put the plugins where the lab's engine looks, and return which ones they are.

    Args:
        settings: The lab.
        stand_ins: Take stand-ins whatever is there.
    """
    found = find(settings, stand_ins=stand_ins)
    language, *providers = found
    _install_language(settings, language)
    for provider, plugin in zip(PROVIDERS, providers, strict=True):
        _install_provider(settings, provider, plugin)
    return found


def _persons_home(settings: LabSettings) -> Path:
    """Return the PULUMI_HOME that a person uses outside the lab's shell."""
    home = os.environ.get("PULUMI_HOME")
    return Path(home) if home and Path(home) != settings.pulumi_home else Path.home() / ".pulumi"


def _install_language(settings: LabSettings, plugin: Plugin) -> None:
    target = programs(settings) / LANGUAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    if plugin.official:
        _replace_by_link(target, plugin.path)
        return
    part = releases.program(settings, releases.PULUMI, EXECUTOR)
    executor = part or Toolchain(settings).language_executor()
    _write_program(settings, target, "lab.plugins.language", {"AEGIS_LANGUAGE_EXEC": str(executor)})
    # Beside the host, as it is in the official archive: `aegis` looks for it there, too.
    _replace_by_link(target.with_name(EXECUTOR), executor)


def _install_provider(settings: LabSettings, provider: str, plugin: Plugin) -> None:
    own = _place(settings, provider)
    own.parent.mkdir(parents=True, exist_ok=True)
    if not plugin.official:
        _write_program(settings, own, f"lab.plugins.{provider}", {})
    elif plugin.path != own.resolve():
        _replace_by_link(own, plugin.path)


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


def link_programs(
    settings: LabSettings, programs_by_name: dict[str, Path], *, stand_ins: bool = False
) -> None:
    """Put links to programs into the directory that the lab's shell has on its PATH.

    Args:
        settings: The lab.
        programs_by_name: Name -> the program.
        stand_ins: Whether the CLI is to run stand-ins, whatever lies beside it.

    Raises:
        LabError: A program does not exist.
    """
    directory = programs(settings)
    directory.mkdir(parents=True, exist_ok=True)
    own_build = Toolchain(settings).path(PULUMI)
    for name, path in programs_by_name.items():
        if name == PULUMI.name and (stand_ins or path == own_build) and path.exists():
            _place_cli(settings, path)
            continue
        if not path.exists():
            raise refused(f"{name} is not there", f"{path} does not exist", "make up")
        _replace_by_link(directory / name, path)


def _place_cli(settings: LabSettings, source: Path) -> None:
    """Put a CLI into the directory as a file, not as a symbolic link.

    The engine looks for language hosts beside its executable, links followed, and warns each
    time it takes another one from PATH.
    """
    target = programs(settings) / PULUMI.name
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
