"""What checkov says of the program's manifests, and which of the pack's rules it knows."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.aegis_policy.resources import Resource, bare
from tests.integration.waiting import SECONDS
from tests.rendering import ROOT
from tests.unit.policy.stacks import changed, program
from tests.unit.policy.test_rules import ADDED, FAILING

CHECKOV = ROOT / "policy" / ".checkov" / "bin" / "checkov"
ARGUED = {"CKV_K8S_35"}
"""The exceptions; docs/policy.md argues each."""

pytestmark = pytest.mark.skipif(not CHECKOV.exists(), reason="`make scan` installs checkov")


def _plain(value: Any) -> Any:
    value = bare(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _write(path: Path, resources: Iterable[Resource]) -> None:
    """Write the Kubernetes objects among some resources as manifests."""
    manifests = []
    for item in resources:
        if item.kind:
            version = item.type.split(":")[1].removeprefix("core/")
            manifests.append(
                {"apiVersion": version, "kind": item.kind, **_plain(dict(item.inputs))}
            )
    path.write_text(yaml.safe_dump_all(manifests))


def _scan(directory: Path) -> dict[str, set[str]]:
    """The checks that failed, by file."""
    options = ("--framework", "kubernetes", "--skip-download", "--quiet", "--compact")
    argv = [str(CHECKOV), *options, "--output", "json", "--directory", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    failed: dict[str, set[str]] = {path.stem: set() for path in directory.iterdir()}
    for item in report["results"]["failed_checks"]:
        failed[Path(item["file_path"]).stem].add(item["check_id"])
    return failed


def test_only_what_is_argued_fails(tmp_path: Path) -> None:
    stacks = ("development", "staging", "production")
    for stack in stacks:
        _write(tmp_path / f"{stack}.yaml", program(stack))
    failed = _scan(tmp_path)
    assert {stack: failed[stack] for stack in stacks} == dict.fromkeys(stacks, ARGUED)


def test_it_knows_of_the_rules_what_the_documentation_says(tmp_path: Path) -> None:
    rules = {}
    for number, (rule, kind, changes, _) in enumerate(FAILING):
        rules[f"f{number}"] = rule
        _write(tmp_path / f"f{number}.yaml", _only(kind, changed("production", kind, changes)))
    for number, (rule, added, says) in enumerate(ADDED):
        if says is not None and added.kind:
            rules[f"a{number}"] = rule
            _write(tmp_path / f"a{number}.yaml", [added])
    rules["s"] = "staging-is-half"
    double = changed("staging", "Deployment", {"spec.replicas": 4})
    _write(tmp_path / "s.yaml", _only("Deployment", double))
    failed = _scan(tmp_path)
    found: dict[str, tuple[int, int, set[str]]] = {}
    for name, rule in rules.items():
        more = failed[name] - ARGUED
        specs, seen, ids = found.get(rule, (0, 0, set()))
        found[rule] = (specs + 1, seen + bool(more), ids | more)
    assert found == _documented()


def _only(kind: str, resources: Iterable[Resource]) -> list[Resource]:
    """The objects of a kind, which checkov judges by themselves, but for who may reach them."""
    return [item for item in resources if item.kind in (kind, "NetworkPolicy")]


def _documented() -> dict[str, tuple[int, int, set[str]]]:
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) of (\d+) \| (.*) \|$", text, re.MULTILINE)
    return {
        rule: (int(specs), int(seen), set(re.findall(r"CKV\w+", ids)))
        for rule, seen, specs, ids in rows
    }
