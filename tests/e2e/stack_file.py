"""A stack's file, edited as a person does in an editor, in place of a `pulumi config set` each.

What is secret is for the CLI to write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_NO_TEXT = re.compile(r"0|-?[1-9]\d*|true|false")


def change(directory: Path, stack: str, values: Mapping[str, str | None]) -> None:
    """Change settings of a stack.

    Args:
        directory: The program's.
        stack: The stack's name.
        values: Key -> value, the key without the project's name. A dot leads into a group, where
            a number or a truth value is one, as `pulumi config set --path` has it. None takes a
            setting away, whether it is there or not.
    """
    project = yaml.safe_load((directory / "Pulumi.yaml").read_text())["name"]
    path = directory / f"Pulumi.{stack}.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text()) if path.exists() else {}
    config = content.setdefault("config", {})
    for key, value in values.items():
        group, *inner = key.split(".")
        *leading, last = (f"{project}:{group}", *inner)
        place = config
        for name in leading:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            is_text = not inner or not _NO_TEXT.fullmatch(value)
            place[last] = value if is_text else json.loads(value)
    path.write_text(yaml.safe_dump(content))
