"""A file backend as the CLI leaves it, made without the CLI: of any size, and damaged at will."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis_deploy.model.database.dataset import DATASET
from aegis_deploy.model.database.schema import HEAD, LEAST
from aegis_deploy.stack.session import Session

START = 1_790_000_000
DIGEST = "sha256:" + "0123456789abcdef" * 4


def urn(kind: str, name: str) -> str:
    """A resource's URN."""
    return f"urn:pulumi:staging::shop::{kind}::{name}"


def deployment(
    version: str = "1.0.0",
    *,
    schema: tuple[int, int] | None = None,
    dataset: str = "",
    **more: Any,
) -> dict[str, Any]:
    """A state: a stack with its outputs, and a Deployment that runs an image.

    Args:
        version: What the image is called.
        schema: The newest revision of a database that its code knows, and the least it works with.
        dataset: The data set that it works on.
        more: What else the state has.
    """
    image = f"registry.example.com/shop@{DIGEST}"
    labels = {"app.kubernetes.io/version": version}
    pods: dict[str, Any] = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"image": image}]},
    }
    if schema is not None:
        said = zip((HEAD, LEAST), map(str, schema), strict=True)
        pods["metadata"]["annotations"] = dict(said)
    told = {"dataset": dataset} if dataset else {}
    if dataset:
        pods["metadata"].setdefault("annotations", {})[DATASET] = dataset
    manifest = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": pods}}
    return {
        "manifest": {},
        "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:salt"}},
        "resources": [
            {
                "urn": urn("pulumi:pulumi:Stack", "shop-staging"),
                "type": "pulumi:pulumi:Stack",
                "custom": False,
                "outputs": {"version": version, "imageDigest": DIGEST, **told},
            },
            {
                "urn": urn("kubernetes:apps/v1:Deployment", "web"),
                "type": "kubernetes:apps/v1:Deployment",
                "custom": True,
                "id": "shop/web",
                "inputs": manifest,
                "outputs": manifest,
            },
        ],
        **more,
    }


@dataclass
class MadeBackend:
    """A backend with one stack, ``staging`` of the project ``shop``.

    Attributes:
        root: A directory for everything.
        updates: How many updates it has.
    """

    root: Path
    updates: int = 0
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.project = self.root / "project"
        self.pulumi = self.root / "backend" / ".pulumi"
        self.history = self.pulumi / "history" / "shop" / "staging"
        self.state = self.pulumi / "stacks" / "shop" / "staging.json"
        self.tags = self.state.with_suffix(".pulumi-tags")
        self.locks = self.pulumi / "locks" / "organization" / "shop" / "staging"
        for directory in (self.project, self.history, self.state.parent, self.locks):
            directory.mkdir(parents=True)
        (self.project / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        (self.pulumi / "meta.yaml").write_text("version: 1\n")
        self.leave(deployment())

    def leave(self, state: Mapping[str, Any]) -> None:
        """Make this the stack's state."""
        self.state.write_text(json.dumps(_checkpoint(state)))

    def update(
        self,
        result: str = "succeeded",
        *,
        kind: str = "update",
        message: str = "",
        state: Mapping[str, Any] | None = None,
        compressed: bool = False,
        **more: Any,
    ) -> str:
        """Record an operation; return its key."""
        self.updates += 1
        began = START + 60 * self.updates
        key = str(began * 10**9 + 7)
        record = {
            "kind": kind,
            "startTime": began - 5,
            "message": message or f"Change {self.updates}",
            "environment": {"git.head": f"{self.updates:040x}", "git.committer": "Ann"},
            "config": {"shop:replicas": "2", "shop:token": {"secure": "v1:abc"}},
            "version": 0,
            "result": result,
            "endTime": began,
            "resourceChanges": {"update": 1, "same": 17},
            **more,
        }
        checkpoint = _checkpoint(state or deployment(f"1.0.{self.updates}"))
        for name, content in (("history", record), ("checkpoint", checkpoint)):
            path = self.file(key, name)
            if compressed:
                path.with_name(path.name + ".gz").write_bytes(
                    gzip.compress(json.dumps(content).encode())
                )
            else:
                path.write_text(json.dumps(content))
        self.keys.append(key)
        return key

    def file(self, key: str, kind: str = "history") -> Path:
        """The file of an operation."""
        return self.history / f"staging-{key}.{kind}.json"

    def tag(self, **tags: str) -> None:
        """Set the stack's tags; a colon in a name is written as two underscores."""
        named = {name.replace("__", ":").replace("_", "."): text for name, text in tags.items()}
        self.tags.write_text(json.dumps({"version": 1, "tags": named}))

    def lock(self, name: str = "lock", **content: Any) -> Path:
        """Take the CLI's lock."""
        path = self.locks / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def session(self) -> Session:
        """Open the stack. There is no CLI: whatever would run it fails."""
        return Session.open(
            "staging",
            self.project,
            {
                "PATH": "",
                "HOME": str(self.root),
                "PULUMI_BACKEND_URL": f"file://{self.root / 'backend'}",
            },
        )


def _checkpoint(state: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": 3, "checkpoint": {"stack": "staging", "latest": dict(state)}}
