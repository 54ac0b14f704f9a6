"""A program that is not ours, with a store and migrations of its own: gone back to is what fits.

All that `aegis` knows of them is the contract in docs/schema.md. The tests run in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.command import wait_until
from tests.e2e.small_program import PATIENT, SmallProgram
from tests.evidence.plugin import keep
from tests.series import every

PROGRAM = '''
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
NAMESPACE, IMAGE = config.require("namespace"), config.require("image")
HEAD, LEAST = config.require_int("head"), config.require_int("least")
FROZEN = config.get("irreversible")
FREEZES = {"aegis.dev/schema-irreversible": FROZEN} if FROZEN else {}
# What it holds outlives every release: nothing of it changes with them.
STORE = """
import http.server, json, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
holds = {"revision": 0, "leastHead": 0}
class Store(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps(holds).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for name, value in told.items():
            holds[name] = max(holds[name], value)
        self.do_GET()
http.server.ThreadingHTTPServer(("", 8000), Store).serve_forever()
"""
ASK = """
import json, time, urllib.request
def ask(**told):
    data = json.dumps(told).encode() if told else None
    for _ in range(100):
        try:
            with urllib.request.urlopen("http://store", data, timeout=10) as answer:
                return json.load(answer)
        except OSError as error:
            print(error, flush=True)
            time.sleep(0.5)
    raise SystemExit("there is no store")
"""
MIGRATE = ASK + f"""
import sys
after = dict(revision={HEAD})
if "--contract" in sys.argv:
    after["leastHead"] = {HEAD}
if "--plan" in sys.argv:
    print(json.dumps({{"database": ask(), "after": after}}))
    raise SystemExit
said = json.dumps(ask(**after))
print("migrated to", said)
open("/dev/termination-log", "w").write("whatever it says besides\\\\n" + said)
"""
WEB = ASK + f"""
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
store = ask()
if not ({LEAST} <= store["revision"] and store["leastHead"] <= {HEAD}):
    raise SystemExit(f"does not fit: {{store}}")
if {config.get_bool("broken") or False}:
    raise SystemExit("boom: forgot a comma")
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps({{"database": ask()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
http.server.ThreadingHTTPServer(("", 8000), Web).serve_forever()
"""
space = kubernetes.core.v1.Namespace("space", metadata={"name": NAMESPACE})
inside = pulumi.ResourceOptions(depends_on=[space])


def template(name, code, annotations=None, **more):
    container = {
        "name": name,
        "image": IMAGE,
        "command": ["python3", "-u", "-c", code],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": {"cpu": "10m"}},
    }
    if name != "migrate":
        asks = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1, "timeoutSeconds": 10}
        container["readinessProbe"] = asks
    spec = {"terminationGracePeriodSeconds": 2, "containers": [container], **more}
    return {"metadata": {"labels": {"app": name}, "annotations": annotations or {}}, "spec": spec}


def deployment(name, code, after, annotations=None):
    return kubernetes.apps.v1.Deployment(
        name,
        metadata={"name": name, "namespace": NAMESPACE},
        spec={
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, code, annotations),
        },
        opts=pulumi.ResourceOptions(depends_on=after),
    )


for name in ("store", "web"):
    kubernetes.core.v1.Service(
        name,
        metadata={
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8000}],
        },
        opts=inside,
    )
before = [deployment("store", STORE, [space])]
if config.get_bool("migrates"):
    before.append(
        kubernetes.batch.v1.Job(
            f"migrate-{HEAD}",
            metadata={"name": f"migrate-{HEAD}", "namespace": NAMESPACE},
            spec={
                "backoffLimit": 0,
                "template": template(
                    "migrate",
                    MIGRATE,
                    {
                        **FREEZES,
                        "aegis.dev/schema-revisions": '["cat", "revisions.json"]',
                        "aegis.dev/schema-job": "true",
                        "aegis.dev/schema-contract-args": '["--contract"]',
                        "aegis.dev/schema-plan-args": '["--contract", "--plan"]',
                    },
                    restartPolicy="Never",
                ),
            },
            opts=pulumi.ResourceOptions(depends_on=before),
        )
    )
said = {"aegis.dev/schema-head": str(HEAD), "aegis.dev/schema-least": str(LEAST), **FREEZES}
deployment("web", WEB, before, said)
'''


class Shop(SmallProgram):
    """The program, its stack and its namespace."""

    def release(
        self,
        head: int,
        least: int,
        *,
        migrates: bool = True,
        broken: bool = False,
        irreversible: int = 0,
    ) -> None:
        """Choose what is deployed next: code of a schema, with a migration to it or without."""
        code = {"head": str(head), "least": str(least)}
        code |= {"irreversible": str(irreversible)} if irreversible else {}
        ways = {"migrates": str(migrates).lower(), "broken": str(broken).lower()}
        self.configure({**code, **ways})

    def store(self, **told: int) -> dict[str, int]:
        """Ask the store what it is; with something to tell, after that: a contract by hand."""
        data = json.dumps(told).encode() if told else None
        code = (
            "import urllib.request as it\n"
            f"print(it.urlopen('http://127.0.0.1:8000', {data!r}).read().decode())"
        )
        words = ("exec", "deployment/store", "--", "python3", "-c", code)
        found: dict[str, int] = json.loads(self.kubectl(*words).standard_output)
        return found

    def serves(self) -> tuple[str, str]:
        """The head that the pods that run are of, and the Deployment's generation."""
        found = self.live("deployment", "web")
        said = found["spec"]["template"]["metadata"]["annotations"]
        return said["aegis.dev/schema-head"], found["metadata"]["generation"]

    def rows(self) -> dict[int, dict[str, Any]]:
        """The releases of the history by their numbers."""
        return {it["number"]: it for it in self.told("history")["releases"]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A stack whose first release, of revision 1, is good and verified."""
    settings = {"gate.bakeSeconds": "2", "gate.path": "/", **PATIENT}
    it = Shop.written(tmp_path_factory.mktemp("shop"), PROGRAM, settings)
    try:
        it.release(1, 1)
        assert it.told("deploy", "--yes")["gate"]["passed"]
        yield it
    except Exception:
        keep(it)
        raise
    finally:
        it.leave()


def test_a_release_that_adds_to_the_schema_is_migrated_for_and_verified(shop: Shop) -> None:
    shop.release(2, 1)
    assert shop.told("deploy", "--yes")["gate"]["passed"]
    assert shop.store() == {"revision": 2, "leastHead": 0}
    assert shop.told("status")["database"] == {"revision": 2, "leastHead": 0}


@every
def test_a_bad_one_goes_back_to_code_that_works_with_what_its_migration_added(shop: Shop) -> None:
    shop.release(3, 1, broken=True)
    failed = shop.told("deploy", "--yes", expect=4)
    assert "boom: forgot a comma" in failed["error"]["why"]
    assert failed["error"]["state"].startswith("rolled back to release ")
    assert shop.serves()[0] == "2"
    assert shop.store() == {"revision": 3, "leastHead": 0}, "no downgrade is ever run"
    assert shop.told("status")["database"] == {"revision": 3, "leastHead": 0}


def test_code_that_needs_what_the_store_does_not_have_is_refused(shop: Shop) -> None:
    before, now = shop.serves(), shop.store()["revision"]
    shop.release(9, 9, migrates=False)
    refused = shop.told("deploy", "--yes", expect=3)
    assert "does not fit the database" in refused["error"]["what"]
    assert f"at revision 9 or later, and that is at {now}" in refused["error"]["why"]
    assert refused["error"]["state"] == "nothing was changed"
    assert shop.serves() == before


def test_past_a_contract_nothing_goes_back(shop: Shop) -> None:
    shop.release(4, 2)
    assert shop.told("deploy", "--yes")["gate"]["passed"]
    assert shop.store(revision=5, leastHead=2) == {"revision": 5, "leastHead": 2}
    before = shop.serves()
    assert before[0] == "4"
    rows = shop.rows()
    first = min(number for number, it in rows.items() if it["verified"])
    refused = shop.told("rollback", "--to", str(first), "--yes", expect=3)
    assert "works with code of revision 2 or later, and this is of 1" in refused["error"]["why"]
    said = refused["error"]["next"]
    assert said.startswith("the nearest that does: aegis rollback --to ")
    nearest = int(said.split("--to ")[1].split()[0])
    assert rows[nearest]["schema"] == {"head": 2, "least": 1}
    assert shop.serves() == before
    marked = {number for number, it in shop.rows().items() if it["misfit"]}
    assert first in marked
    assert nearest not in marked
    assert "works with code of revision 2 or later" in shop.aegis("history").output


@every
def test_code_of_before_the_contract_is_refused_though_it_brings_a_migration(shop: Shop) -> None:
    before = shop.serves()
    shop.release(1, 1)
    refused = shop.told("deploy", "--yes", expect=3)
    assert "works with code of revision 2 or later, and this is of 1" in refused["error"]["why"]
    assert shop.serves() == before


@every
def test_a_rollback_passes_over_what_no_longer_fits(shop: Shop) -> None:
    back = shop.told("rollback", "--yes")
    assert back["gate"]["passed"]
    assert shop.serves()[0] == "2"
    assert shop.store(leastHead=2) == {"revision": 5, "leastHead": 2}
    shop.release(5, 2)
    assert shop.told("deploy", "--yes")["gate"]["passed"]
    shop.store(leastHead=5)
    before = shop.serves()
    refused = shop.told("rollback", "--yes", expect=3)
    assert "works with code of revision 5 or later" in refused["error"]["why"]
    assert shop.serves() == before


def test_a_contract_is_run_by_the_releases_own_migration_and_by_no_deploy(shop: Shop) -> None:
    least = shop.store()["leastHead"]
    shop.release(6, 2)
    assert shop.told("deploy", "--yes")["gate"]["passed"]
    assert shop.store() == {"revision": 6, "leastHead": least}
    fits = {number for number, it in shop.rows().items() if it["verified"] and not it["misfit"]}
    last = max(fits)
    planned = shop.told("migrate", "contract", "--preview")
    assert set(planned["cutOff"]) == fits - {last}
    assert planned["cutOff"]
    assert (planned["changed"], planned["database"]) == (False, {"revision": 6, "leastHead": 6})
    assert shop.store() == {"revision": 6, "leastHead": least}
    before = shop.serves()
    done = shop.aegis("migrate", "contract", "--yes")
    assert "migrated to" in done.output
    assert shop.store() == {"revision": 6, "leastHead": 6}
    assert shop.told("status")["database"] == {"revision": 6, "leastHead": 6}
    assert shop.serves() == before
    assert {number for number in fits if not shop.rows()[number]["misfit"]} == {last}
    # What did it is nothing of the stack's, and goes by itself.
    shop.told("drift")
    run = "aegis.dev/schema-run"
    jobs = [it for it in shop.live("jobs") if run in it["metadata"]["labels"]]
    ran = sorted(it["metadata"]["labels"][run] for it in jobs)
    assert ran == ["contract", "plan", "plan"]
    assert all(it["spec"]["ttlSecondsAfterFinished"] for it in jobs)
    assert all(it["metadata"]["ownerReferences"] for it in jobs)
    assert not shop.told("migrate", "contract", "--yes")["changed"]
    refused = shop.told("rollback", "--yes", expect=3)
    assert "works with code of revision 6" in refused["error"]["why"]


@every
def test_a_schedule_contracts_what_nothing_has_needed_for_long_enough(shop: Shop) -> None:
    shop.release(7, 2)
    assert shop.told("deploy", "--yes")["gate"]["passed"]
    assert shop.store() == {"revision": 7, "leastHead": 6}
    assert not shop.told("migrate", "contract", "--due", "--yes")["changed"], "it is not set"
    shop.configure({"contractAfter": "7d"})
    waits = shop.told("migrate", "contract", "--due", "--yes")
    assert (waits["changed"], bool(waits["dueAt"])) == (False, True)
    assert shop.store() == {"revision": 7, "leastHead": 6}
    shop.configure({"contractAfter": "1m"})
    wait_until(
        lambda: shop.told("migrate", "contract", "--due", "--yes")["changed"],
        what="it is due",
        timeout=300,
    )
    assert shop.store() == {"revision": 7, "leastHead": 7}
    shop.configure({"contractAfter": ""})


@every
def test_nothing_goes_back_past_what_is_irreversible(shop: Shop) -> None:
    shop.release(8, 2, broken=True, irreversible=8)
    eighth = {"revision": 8, "kind": "expand", "about": "Eight", "sql": ["DROP TABLE seven;"]}
    (shop.directory / "revisions.json").write_text(json.dumps({"revisions": [eighth]}))
    previewed = shop.aegis("preview").output
    assert "revision 8 is irreversible" in previewed
    assert "revision 8 (expand): Eight" in previewed
    assert "squawk: ban-drop-table: " in previewed
    failed = shop.aegis("deploy", "--yes", expect=1).output
    assert failed.index("revision 8 is irreversible") < failed.index("boom: forgot a comma")
    assert "revision 8 cannot be gone back past by any code, and this is of 7" in failed
    # The store was told nothing of N: that the release says the word is enough.
    assert shop.store() == {"revision": 8, "leastHead": 7}
    frozen = {"revision": 8, "leastHead": 8, "irreversible": 8}
    assert shop.told("status")["database"] == frozen

    shop.release(8, 2, irreversible=8)
    assert shop.told("deploy", "--yes", "--force")["gate"]["passed"]
    refused = shop.told("rollback", "--yes", expect=3)
    assert "revision 8 cannot be gone back past by any code" in refused["error"]["why"]
    assert "revision 8 cannot be gone back past by any code" in shop.aegis("history").output
    assert shop.told("history")["database"] == frozen
