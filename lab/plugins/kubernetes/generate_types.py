"""Writes types.json, the field table that normalisation reads, from Kubernetes' Go sources.

Run by hand when the pinned Kubernetes version changes::

    python -m lab.plugins.kubernetes.generate_types "$(go env GOMODCACHE)/k8s.io" v0.35.4

The table says for every field of every built-in type what the Go type is and whether an empty
value is left out of the JSON, which neither OpenAPI nor the Python client tell. The notation:
``s`` string, ``i`` integer, ``f`` float, ``b`` bool, ``y`` bytes, ``q`` quantity, ``p``
int-or-string, ``a`` anything, ``=Name`` a struct of the table; ``*`` in front is a pointer,
``[`` a list of, ``{`` a map to; ``?`` at the end is omitempty.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^type (\w+) (?:= )?(?!struct\b|interface\b)(\S+)$", re.MULTILINE)
_GROUPED_NAMED = re.compile(r"^\t(\w+) (string|\[\]\w+|map\[\w+\]\S+)$", re.MULTILINE)
_FIELD = re.compile(r"^\t(?:(\w+)\s+)?([\w.*\[\]]+)\s+`([^`]*)`", re.MULTILINE)
_JSON_TAG = re.compile(r'json:"([^"]*)"')
_SCALARS = {
    "string": "s",
    "bool": "b",
    "byte": "y",
    "float64": "f",
    "interface{}": "a",
    **dict.fromkeys(("int", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "i"),
}
_SPECIAL = {
    "resource.Quantity": "q",
    "intstr.IntOrString": "p",
    "types.UID": "s",
    "types.NodeName": "s",
    **dict.fromkeys(
        (
            "meta.v1.Time",
            "meta.v1.MicroTime",
            "meta.v1.Timestamp",
            "meta.v1.Duration",
            "meta.v1.FieldsV1",
            "runtime.RawExtension",
            "runtime.Object",
        ),
        "a",
    ),
}


class _Package:
    """One Go package: its structs, its named types, and how it names the packages it uses."""

    def __init__(self, name: str, directory: Path) -> None:
        text = "\n".join(
            path.read_text()
            for path in sorted(directory.glob("*.go"))
            if path.name.startswith("types") and not path.name.endswith("_test.go")
        )
        self.name = name
        self.structs = dict(_STRUCT.findall(text))
        self.named = {**dict(_GROUPED_NAMED.findall(text)), **dict(_NAMED.findall(text))}
        self.imports = {
            alias: f"{group}.{version}"
            for alias, group, version in re.findall(r'(\w+) "k8s\.io/api/(\w+)/(\w+)"', text)
        }
        self.imports.update({"metav1": "meta.v1", "meta_v1": "meta.v1"})


def _expression(  # noqa: PLR0911 - one return for each notation
    go_type: str, package: _Package, packages: dict[str, _Package]
) -> str:
    if go_type.startswith("*"):
        return "*" + _expression(go_type[1:], package, packages)
    if go_type == "[]byte":
        return "y"
    if go_type.startswith("[]"):
        return "[" + _expression(go_type[2:], package, packages)
    if go_type.startswith("map["):
        return "{" + _expression(go_type.partition("]")[2], package, packages)
    if go_type in _SCALARS:
        return _SCALARS[go_type]
    if go_type in _SPECIAL:
        return _SPECIAL[go_type]
    if "." in go_type:
        alias, name = go_type.split(".")
        if alias not in package.imports:
            return "a"
        owner = packages[package.imports[alias]]
    else:
        owner, name = package, go_type
    full = f"{owner.name}.{name}"
    if full in _SPECIAL:
        return _SPECIAL[full]
    if name in owner.structs:
        return f"={full}"
    if name in owner.named:
        return _expression(owner.named[name], owner, packages)
    return "a"


def _fields(body: str, package: _Package, packages: dict[str, _Package]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for _name, go_type, tags in _FIELD.findall(body):
        tag = _JSON_TAG.search(tags)
        if tag is None:
            continue
        json_name, *options = tag.group(1).split(",")
        expression = _expression(go_type, package, packages)
        if "inline" in options or (json_name == "" and expression.startswith("=")):
            if not expression.lstrip("*").startswith("="):
                raise SystemExit(f"{package.name}: cannot inline {go_type} ({expression})")
            owner_name, _, struct = expression.lstrip("*=").rpartition(".")
            owner = packages[owner_name]
            fields.update(_fields(owner.structs[struct], owner, packages))
        elif json_name and json_name != "-":
            fields[json_name] = expression + ("?" if "omitempty" in options else "")
    return fields


def generate(root: Path, version: str) -> dict[str, dict[str, str] | dict[str, dict[str, str]]]:
    """Read the Go sources and return the table: kinds (apiVersion/Kind to type) and types."""
    api = root / f"api@{version}"
    meta = root / f"apimachinery@{version}" / "pkg" / "apis" / "meta" / "v1"
    packages = {"meta.v1": _Package("meta.v1", meta)}
    kinds: dict[str, str] = {}
    for register in sorted(api.glob("*/*/register.go")):
        group, release = register.parts[-3:-1]
        packages[f"{group}.{release}"] = _Package(f"{group}.{release}", register.parent)
    for register in sorted(api.glob("*/*/register.go")):
        package = packages[".".join(register.parts[-3:-1])]
        found = re.search(r'GroupName = "([^"]*)"', register.read_text())
        if found is None:
            continue
        api_version = "/".join(filter(None, (found.group(1), register.parts[-2])))
        for name, body in package.structs.items():
            if "metav1.ObjectMeta `" in body and "metav1.TypeMeta `" in body:
                kinds[f"{api_version}/{name}"] = f"{package.name}.{name}"
    types: dict[str, dict[str, str]] = {}
    queue = sorted(kinds.values())
    while queue:
        full = queue.pop()
        if full in types:
            continue
        owner_name, _, struct = full.rpartition(".")
        owner = packages[owner_name]
        types[full] = _fields(owner.structs[struct], owner, packages)
        queue += [
            name for value in types[full].values() for name in re.findall(r"=([\w.]+)", value)
        ]
    return {"kinds": dict(sorted(kinds.items())), "types": dict(sorted(types.items()))}


def main() -> None:
    """Write types.json beside this file."""
    table = generate(Path(sys.argv[1]), sys.argv[2])
    target = Path(__file__).with_name("types.json")
    target.write_text(json.dumps(table, indent=0, separators=(",", ":")) + "\n")
    sys.stdout.write(f"{len(table['kinds'])} kinds, {len(table['types'])} types in {target}\n")


if __name__ == "__main__":
    main()
