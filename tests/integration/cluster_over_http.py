"""A cluster of a few kinds over HTTP, for the provider that has one and for `aegis`, which asks it.

It gives every object a UID of its own and remembers who wrote it, as an API server does.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from tests.unit.lab.plugins.kubernetes.fake_api import FakeApi

CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"


class ClusterOverHttp(FakeApi):
    """See the module."""

    def place_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig that leads here."""
        document = {"apiVersion": "v1", "kind": "Config", **json.loads(self.kubeconfig())}
        path.write_text(json.dumps(document))

    def put(self, name: str, data: str, manager: str = "kubectl-create") -> None:
        """Make a ConfigMap by another hand."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": data}}
        body["metadata"] = {"name": name, "namespace": "shop"}
        self._store(f"{CONFIG_MAPS}/{name}", body, dry_run=False)
        self.objects[f"{CONFIG_MAPS}/{name}"]["metadata"]["managedFields"] = [
            {"manager": manager, "operation": "Update", "fieldsV1": {}}
        ]

    def data(self) -> dict[str, str]:
        """What the ConfigMaps hold, by their names."""
        return {
            path.rpartition("/")[2]: str(it["data"]["x"])
            for path, it in sorted(self.objects.items())
            if it.get("kind") == "ConfigMap"
        }

    def uid(self, name: str) -> str:
        """The UID of a ConfigMap."""
        return str(self.objects[f"{CONFIG_MAPS}/{name}"]["metadata"]["uid"])

    def changes(self) -> list[str]:
        """What was made, changed and deleted since this was asked last: ``POST configmaps``."""
        words = [it.split(" ", 1) for it in self.requests if not it.startswith("GET ")]
        self.requests.clear()
        return [
            f"{method} {target.partition('?')[0].removeprefix(f'{CONFIG_MAPS}/')}"
            for method, target in words
            if "dryRun" not in target
        ]

    def _store(self, path: str, body: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        before = self.objects.get(path, {}).get("metadata", {})
        live = super()._store(path, body, dry_run=dry_run)
        live["metadata"]["uid"] = before.get("uid") or str(uuid.uuid4())
        return live
