"""Where things are: the project's directory, the backend's address, the CLI's own directory.

Follows the order the CLI itself looks in, so that both always speak of the same stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.model.release import ConfigValue

PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")
_ORGANIZATION = "organization"
"""What a backend that is no service calls the owner of everything."""
_LONGEST_REFERENCE = 2
_SERVICES = ("http", "https")
_CLOUD = "https://api.pulumi.com"
_DECLARATION = {"value", "default", "type", "description", "secret", "items"}


@dataclass(frozen=True)
class Project:
    """A Pulumi project.

    Attributes:
        name: Its name.
        directory: Where its Pulumi.yaml is.
        settings_directory: Where its stacks' config files are.
        backend_url: The backend it asks for, if it does.
        runtime: What runs its program: a name, or a name with options.
    """

    name: str
    directory: Path
    settings_directory: Path
    backend_url: str | None = None
    runtime: str | Mapping[str, Any] = ""


def find_project(directory: Path) -> Project:
    """Find the project that a directory belongs to.

    Raises:
        AegisError: There is none, or its file is not usable.
    """
    start = directory.expanduser().resolve()
    for place in (start, *start.parents):
        for name in PROJECT_FILES:
            if (place / name).is_file():
                return _read_project(place / name)
    raise AegisError(
        what=f"{start} is in no Pulumi project",
        why="neither it nor a directory above it has a Pulumi.yaml",
        next="go to the project's directory, or name it with --directory",
        code=ExitCode.USAGE,
    )


def pulumi_home(environment: Mapping[str, str]) -> Path:
    """The CLI's own directory."""
    home = Path(environment.get("HOME") or Path.home())
    return Path(environment.get("PULUMI_HOME") or home / ".pulumi")


def locate_backend(project: Project, environment: Mapping[str, str], home: Path) -> str:
    """The address of the backend the CLI would use.

    Raises:
        AegisError: There is none yet.
    """
    chosen = environment.get("PULUMI_BACKEND_URL") or project.backend_url
    if chosen:
        return chosen
    credentials = Path(environment.get("PULUMI_CREDENTIALS_PATH") or home) / "credentials.json"
    try:
        current = json.loads(credentials.read_text()).get("current")
    except (OSError, ValueError):
        current = None
    if not current and environment.get("PULUMI_ACCESS_TOKEN"):
        # The token alone is enough for the CLI: it is one of the service's.
        return environment.get("PULUMI_API") or _CLOUD
    if not current:
        raise AegisError(
            what="no backend is chosen",
            why=f"PULUMI_BACKEND_URL is not set, and {credentials} names none",
            next="pulumi login, or set PULUMI_BACKEND_URL",
        )
    return str(current)


def stack_name(reference: str, project: str, backend_url: str) -> str:
    """The name in a reference such as ``acme/shop/staging``, once it is one of this project's.

    Args:
        reference: ``staging``, ``acme/staging`` or ``acme/shop/staging``.
        project: The project whose directory this is.
        backend_url: The backend.

    Raises:
        AegisError: It names another project's stack, an organization where there are none, or
            nothing.
    """
    *before, name = reference.split("/")
    whole = f"{_ORGANIZATION}/{project}/{name or 'staging'}"
    if not all([name, *before]) or len(before) > _LONGEST_REFERENCE:
        raise AegisError(
            what=f"{reference!r} is no name of a stack",
            why=f"a stack is called {whole.rpartition('/')[2]}, or in full {whole}",
            next="pulumi stack ls",
            code=ExitCode.USAGE,
        )
    if len(before) == _LONGEST_REFERENCE and before[1] != project:
        raise AegisError(
            what=f"{reference} is a stack of the project {before[1]}",
            why=f"this is the directory of the project {project}",
            next=f"name the directory of {before[1]} with --directory",
            code=ExitCode.USAGE,
        )
    if before and before[0] != _ORGANIZATION and urlsplit(backend_url).scheme not in _SERVICES:
        raise AegisError(
            what=f"{reference} names the organization {before[0]}",
            why=f"this backend has none; its stacks are called {_ORGANIZATION}/PROJECT/STACK",
            next=f"--stack {name}, or log in to the backend that has {before[0]}",
            code=ExitCode.USAGE,
        )
    return name


def qualified(name: str, project: str) -> str:
    """A setting's full name: one without a namespace is the project's own."""
    return name if ":" in name else f"{project}:{name}"


def read_settings(path: Path, project: str) -> dict[str, ConfigValue]:
    """The settings in a project's or a stack's file; none where there is no such file.

    Raises:
        AegisError: The file is not YAML.
    """
    config = read_yaml(path).get("config")
    declared = path.name in PROJECT_FILES
    found = {}
    for key, raw in (config if isinstance(config, dict) else {}).items():
        value = raw
        if declared and isinstance(raw, dict) and not raw.keys().isdisjoint(_DECLARATION):
            if "value" not in raw and "default" not in raw:
                continue
            value = raw.get("value", raw.get("default"))
        found[qualified(key, project)] = ConfigValue.recorded(value)
    return found


def stack_settings(project: Project, stack: str) -> dict[str, ConfigValue]:
    """The settings an update of a stack would record, as the files have them: secrets encrypted."""
    found: dict[str, ConfigValue] = {}
    own = project.settings_directory / f"Pulumi.{stack}.yaml"
    for path in (*(project.directory / name for name in PROJECT_FILES), own):
        found.update(read_settings(path, project.name))
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a project's or a stack's file; none where there is no such file.

    Raises:
        AegisError: The file is not YAML, or not what such a file is.
    """
    try:
        content: Any = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise _unusable(path, str(error)) from error
    if not isinstance(content, dict):
        raise _unusable(path, "it is not a file of settings, `name: value` a line")
    return content


def _unusable(path: Path, why: str) -> AegisError:
    return AegisError(
        what=f"{path} cannot be used",
        why=why,
        next=f"mend it, or take the last one that was right: git checkout -- {path.name}",
    )


def _read_project(path: Path) -> Project:
    try:
        content: Any = yaml.safe_load(path.read_text()) or {}
        name = content["name"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise AegisError(
            what=f"{path} cannot be used",
            why=f"it has no `name`: {error}" if isinstance(error, KeyError) else str(error),
            code=ExitCode.USAGE,
        ) from error
    directory = path.parent
    # `config:` may be the old name of the directory, or the project's settings.
    own = content.get("stackConfigDir")
    if own is None and isinstance(content.get("config"), str):
        own = content["config"]
    return Project(
        name=str(name),
        directory=directory,
        settings_directory=directory / own if own else directory,
        backend_url=(content.get("backend") or {}).get("url"),
        runtime=content.get("runtime") or "",
    )
