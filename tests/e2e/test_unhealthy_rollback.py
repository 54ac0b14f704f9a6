"""A rollback that does not come up healthy, because the world has changed since.

The first release needs a key that somebody else provides; the second one does not. The key goes,
and then somebody rolls back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.small_program import SmallProgram
from tests.series import every

PROGRAM = '''
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
run = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("started with the key", os.environ.get("KEY"), flush=True)
if os.environ["NEEDS_KEY"] == "yes" and "KEY" not in os.environ:
    time.sleep(4)
    sys.exit("the key has expired")
while True:
    time.sleep(1)
"""
key = {"configMapKeyRef": {"name": "theirs", "key": "key", "optional": True}}
kubernetes.apps.v1.Deployment(
    "web",
    metadata={"name": "web", "namespace": config.require("namespace")},
    spec={
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 3,
                "containers": [
                    {
                        "name": "web",
                        "image": config.require("image"),
                        "command": ["python3", "-c", run],
                        "env": [
                            {"name": "NEEDS_KEY", "value": config.require("needsKey")},
                            {"name": "KEY", "valueFrom": key},
                        ],
                    }
                ],
            },
        },
    },
)
'''


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallProgram]:
    """A stack that nothing was deployed from, in a namespace with the key."""
    it = SmallProgram.written(tmp_path, PROGRAM, {})
    it.run("kubectl", "create", "namespace", it.namespace)
    try:
        it.kubectl("create", "configmap", "theirs", "--from-literal=key=1")
        yield it
    finally:
        it.leave()


@every
def test_a_rollback_that_does_not_come_up_healthy_is_told_loudest_of_all(
    shop: SmallProgram,
) -> None:
    # The rollback is judged by the gate of the release it restores.
    for needs, bake in (("yes", "15"), ("no", "0")):
        shop.configure({"gate.bakeSeconds": bake, "needsKey": needs})
        shop.aegis("deploy", "--yes")
    shop.kubectl("delete", "configmap", "theirs")
    error = shop.told("rollback", "--yes", expect=1)["error"]
    assert error["what"] == "THE ROLLBACK of far to release 1 DID NOT COME UP HEALTHY"
    assert "ended with exit code 1" in error["why"]
    assert "the key has expired" in error["why"], "the last log lines say why"
    assert error["state"].startswith("the stack is NOT at a verified release")
    assert "a person is needed now" in error["next"]
    newest = shop.told("history")["releases"][0]
    assert (newest["restores"], newest["verified"]) == (1, False)
