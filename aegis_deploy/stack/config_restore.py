"""A stack's settings file, brought in line with what runs.

After a rollback the file still says what was rolled back, and the next `pulumi up` would deploy it
again. Only the settings that differ are rewritten, in their place: comments, order and everything
else in the file stay. Secrets are never decrypted: the recorded ciphertext is put back.
Not by ruamel.yaml (0.19): it drops the comment behind a key that goes and respaces other lines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from aegis_deploy.common import atomic_file
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.release import Config, ConfigValue, Release

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

_INDENT = 2


@dataclass(frozen=True)
class SettingChange:
    """A setting that the file and what runs do not agree on.

    Attributes:
        key: The setting.
        file: What the file says; None when it does not have it.
        runs: What runs; None when it does not have it.
    """

    key: str
    file: ConfigValue | None
    runs: ConfigValue | None

    def __str__(self) -> str:
        """Say what changes in the file; secrets are masked."""
        if self.runs is None:
            return f"- {self.key}"
        if self.file is None:
            return f"+ {self.key}: {self.runs.shown}"
        return f"~ {self.key}: {self.file.shown} -> {self.runs.shown}"


def differences(stack: Config, project: Config, runs: Config) -> list[SettingChange]:
    """Return what has to change in a stack's file so that its next update is what runs.

    Args:
        stack: The settings in the stack's file.
        project: The settings the project's file gives every stack.
        runs: The settings that the release which runs was recorded with.
    """
    found = []
    for key in sorted({*stack, *runs}):
        wanted, inherited, present = runs.get(key), project.get(key), stack.get(key)
        if _same(wanted, present):
            continue
        if wanted is None or not _same(wanted, inherited):
            found.append(SettingChange(key, present, wanted))
        elif present is not None:
            # The project's own value holds again once the stack's is gone.
            found.append(SettingChange(key, present, None))
    return found


def rewritten(text: str, changes: list[SettingChange], project: str) -> str:
    """Return a settings file's text with some settings changed.

    Args:
        text: The file.
        changes: What is to change.
        project: The project's name, whose settings may be written without it.
    """
    root = yaml.compose(text)
    block = _child(root, "config")
    if not isinstance(block, yaml.MappingNode) or block.flow_style or not block.value:
        return _written_anew(text, changes)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    indent = block.value[0][0].start_mark.column
    places = {
        name if ":" in (name := str(key.value)) else f"{project}:{name}": (key, value)
        for key, value in block.value
    }
    last = max(_after(value, lines) for _, value in block.value)
    edits = []
    for change in changes:
        new = [] if change.runs is None else _dumped(change.key, change.runs, indent)
        if change.key in places:
            key, value = places[change.key]
            if len(new) == 1 and value.end_mark.line == key.start_mark.line:
                # A comment behind a value is about the setting, and stays with it.
                new = [new[0].rstrip("\n") + lines[value.end_mark.line][value.end_mark.column :]]
            edits.append((key.start_mark.line, _after(value, lines), new))
        else:
            edits.append((last, last, new))
    for start, end, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        lines[start:end] = new
    return "".join(lines)


@dataclass(frozen=True)
class RestoredConfig:
    """What was done to a settings file.

    Attributes:
        path: The file.
        release: The release that runs.
        changes: What was changed in the file.
    """

    path: str
    release: Release
    changes: tuple[SettingChange, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it for machines; secrets are masked."""
        return {
            "file": self.path,
            "release": self.release.number,
            "changes": [
                {
                    "key": it.key,
                    "file": None if it.file is None else it.file.shown,
                    "runs": None if it.runs is None else it.runs.shown,
                }
                for it in self.changes
            ],
        }


def restore(
    session: Session, releases: Sequence[Release], *, preview: bool = False
) -> RestoredConfig:
    """Bring a stack's settings file in line with the release that runs.

    Args:
        session: The stack.
        releases: Its history, newest first.
        preview: Whether to say what would change, and change nothing.

    Raises:
        AegisError: It is not settled what runs, or the file could not be rewritten.
    """
    from aegis_deploy.pulumi_cli.project import PROJECT_FILES, read_settings

    runs = _what_runs(releases, session.name)
    project: dict[str, ConfigValue] = {}
    for name in PROJECT_FILES:
        project.update(read_settings(session.directory / name, session.project))
    path = session.config_file
    stack = read_settings(path, session.project)
    changes = differences(stack, project, runs.config)
    done = RestoredConfig(str(path), runs, tuple(changes))
    if preview or not changes:
        return done
    before = path.read_text() if path.exists() else ""
    atomic_file.write(path, rewritten(before, changes, session.project).encode())
    left = differences(read_settings(path, session.project), project, runs.config)
    if left:
        atomic_file.write(path, before.encode())
        raise AegisError(
            what=f"{path} could not be brought in line",
            why="\n".join(str(it) for it in left),
            state="the file is as it was",
            next="change these settings by hand: pulumi config set",
        )
    return done


def _what_runs(releases: Sequence[Release], stack: str) -> Release:
    current = next((it for it in releases if it.current), None)
    if current is None:
        raise AegisError(what=f"{stack} was never deployed", next="aegis deploy")
    if not current.succeeded:
        raise AegisError(
            what=f"it is not settled what runs in {stack}",
            why=f"its last update, release {current.number}, {current.result}",
            next="aegis rollback, or aegis recover",
        )
    return current


def _same(one: ConfigValue | None, other: ConfigValue | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(_text(one.value) == _text(other.value))


def _text(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value as history records it: numbers and truth values as text."""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, dict):
        return {key: _text(inner) for key, inner in value.items()}
    return [_text(inner) for inner in value] if isinstance(value, list) else value


def _child(node: Any, name: str) -> Any:  # noqa: ANN401 - YAML's own nodes
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _after(value: Any, lines: list[str]) -> int:  # noqa: ANN401 - a YAML node
    """The line after a value. A block's own end mark lies behind the comments that follow it."""
    while isinstance(value, yaml.CollectionNode) and not value.flow_style:
        last = value.value[-1]
        value = last[1] if isinstance(last, tuple) else last
    end = int(value.end_mark.line) + (1 if value.end_mark.column else 0)
    return min(end, len(lines))


def _dumped(key: str, value: ConfigValue, indent: int) -> list[str]:
    text = yaml.safe_dump({key: value.value}, indent=_INDENT, width=10_000, sort_keys=False)
    return [" " * indent + line for line in text.splitlines(keepends=True)]


def _written_anew(text: str, changes: list[SettingChange]) -> str:
    """Write the whole file, for one that has no settings in lines of their own."""
    content = yaml.safe_load(text) or {}
    settings = dict(content.get("config") or {})
    for change in changes:
        for name in (change.key, change.key.partition(":")[2]):
            settings.pop(name, None)
        if change.runs is not None:
            settings[change.key] = change.runs.value
    content["config"] = settings
    return yaml.safe_dump(content, sort_keys=False, width=10_000)
