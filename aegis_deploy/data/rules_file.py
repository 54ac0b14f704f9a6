"""Reading the file of rules: strictly, and with the line of all that is wrong.

An unknown key, a value of another kind or a key that stands there twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import yaml
from pydantic import BaseModel, ValidationError

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.rules import (
    RULES,
    DeclaredReference,
    Follow,
    Mock,
    MockColumn,
    MockTable,
    Rules,
    Sample,
    Share,
    shown,
)


def load(path: Path) -> Rules:
    """Read a file of rules.

    Args:
        path: The file.

    Raises:
        AegisError: It cannot be read, or says what no rules say; all of it is told at once.
    """
    try:
        return read(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise AegisError(
            what=f"the rules cannot be read: {path}",
            why=str(reason),
            next="name the file of rules with --rules",
        ) from error


def read(text: str, name: str = "rules") -> Rules:
    """Read rules.

    Args:
        text: The file's text.
        name: The file's name, for errors.

    Raises:
        AegisError: They say what no rules say; all of it is told at once.
    """
    try:
        root = yaml.compose(text, _Loader)
        document = _Loader.of(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        reason = getattr(error, "problem", None) or "it is no YAML"
        raise _refused(name, [f"{line}{reason}"]) from error
    if not isinstance(document, dict):
        raise _refused(name, ["it has to be a mapping; see docs/data.md"])
    try:
        return Rules.model_validate(document)
    except ValidationError as error:
        raise _refused(name, _problems(error, root)) from error


class _Loader(yaml.SafeLoader):
    """YAML where only `true` and `false` are truths, and a day is text.

    A column may be named `no` or `on`. A key that stands there twice is refused.
    """

    @classmethod
    def of(cls, node: yaml.Node | None) -> object:
        """Make the values of what was composed."""
        if node is None:
            return {}
        loader = cls("")
        try:
            return loader.construct_document(node)
        finally:
            loader.dispose()

    def mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        """Make a mapping whose keys are texts, each of them there once."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key has to be a text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} stands in line {seen[key.value]} already",
                    problem_mark=key.start_mark,
                )
            seen[key.value] = key.start_mark.line + 1
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


_Loader.yaml_implicit_resolvers = {}
_Loader.add_constructor(
    "tag:yaml.org,2002:map",
    # The types of PyYAML do not know that the loader is the one it is added to.
    lambda loader, node: cast("_Loader", loader).mapping(cast("yaml.MappingNode", node)),
)
for _tag, _form, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(?:0|[1-9][0-9]*)\.[0-9]+$", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_form), _first)


def _problems(error: ValidationError, root: yaml.Node | None) -> list[str]:
    """Word what is wrong, each with its line, key and value, and what is allowed."""
    found = []
    for it in error.errors(include_url=False):
        steps, line, node = _place(root, it["loc"])
        if it["type"] == "missing" and steps[-1:] != [it["loc"][-1]]:
            steps.append(it["loc"][-1])  # Of a rule that is its name alone.
        where = f"line {line}: {'.'.join(map(str, steps))}: " if steps else ""
        if it["type"] == "missing":
            said = "it is missing"
        elif it["type"] == "extra_forbidden":
            said = f"there is no such key; there are: {', '.join(_keys(root, steps[:-1]))}"
        else:
            said = it["msg"].removeprefix("Value error, ").replace("Input should", "it should")
            said = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping", said)
            if isinstance(node, yaml.ScalarNode) and it["type"] != "value_error":
                said += f", not {shown(node.value)}"
        found.append(f"{where}{said}")
    return list(dict.fromkeys(found))


def _place(
    root: yaml.Node | None, loc: Sequence[int | str]
) -> tuple[list[int | str], int, yaml.Node | None]:
    """Return the path, the line and what stands there of what an error is about.

    Names of alternatives among the location, which the file does not have, are left out.
    """
    node, line, steps = root, 1, list[int | str]()
    for index, step in enumerate(loc):
        if isinstance(node, yaml.MappingNode):
            pair = next((it for it in node.value if it[0].value == step), None)
            if pair is None and index < len(loc) - 1:
                continue
            line = line if pair is None else pair[0].start_mark.line + 1
            node = None if pair is None else pair[1]
            steps.append(step)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            # Of one that is too short, what is missing is nowhere.
            node = node.value[step] if step < len(node.value) else None
            line = line if node is None else node.start_mark.line + 1
            steps.append(step)
    return steps, line, node


_MAPPINGS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Rules,
    ("sample",): Sample,
    ("sample", "tables", "*"): Share,
    ("follow", "*"): Follow,
    ("references", "*"): DeclaredReference,
    ("mock",): Mock,
    ("mock", "tables", "*"): MockTable,
    ("mock", "tables", "*", "columns", "*"): MockColumn,
}


def _keys(root: yaml.Node | None, steps: Sequence[int | str]) -> list[str]:
    """Return the keys that a mapping of the file may have."""
    node = _place(root, steps)[2]
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    name = next((value.value for key, value in pairs if key.value == "rule"), "")
    models = (
        model
        for path, model in _MAPPINGS.items()
        if len(path) == len(steps)
        and all(one in ("*", two) for one, two in zip(path, steps, strict=True))
    )
    model = next(models, None) or RULES[name]
    return sorted(field.alias or key for key, field in model.model_fields.items())


def _refused(name: str, problems: list[str]) -> AegisError:
    return AegisError(
        what=f"{name} has rules that cannot be read",
        why="\n".join(problems),
        next="mend these lines; docs/data.md says what rules there are",
        details={"problems": problems},
    )
