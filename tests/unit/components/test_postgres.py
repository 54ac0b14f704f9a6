"""components.postgres: a PostgreSQL in the stack's own namespace."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.postgres_settings import PostgresSettings, postgres_settings
from components.quantities import Memory
from components.setting_errors import SettingsError
from tests.rendering import Registered, Rendering, render
from tests.unit.policy.stacks import program, told

IMAGE = f"registry.example.com/postgres@sha256:{'a' * 64}"
NAME = "app.kubernetes.io/name"


def with_one(stack: str = "staging", **settings: object) -> Rendering:
    """A stack with a database of its own."""
    return render(stack, postgres=json.dumps({"image": IMAGE, **settings}))


@pytest.fixture(params=["development", "staging"])
def rendered(request: pytest.FixtureRequest) -> Rendering:
    """Each stack that may have one."""
    return with_one(request.param)


def pod(found: Registered) -> dict[str, Any]:
    """The pod template of a workload."""
    spec = found.manifest["spec"]
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"]["spec"]
    template: dict[str, Any] = spec["template"]
    return template


def workloads(rendered: Rendering) -> list[Registered]:
    """The server and what works with its backups."""
    return [*rendered.of_type("StatefulSet"), *rendered.of_type("CronJob")]


def container(found: Registered) -> dict[str, Any]:
    """The only container of a workload."""
    (only,) = pod(found)["spec"]["containers"]
    return dict(only)


def variables(of: dict[str, Any]) -> dict[str, Any]:
    """What a container is told, values and references."""
    return {it["name"]: it.get("value", it.get("valueFrom")) for it in of["env"]}


def secret(rendered: Rendering) -> dict[str, str]:
    """What the database's Secret says."""
    data = rendered.one("Secret", "aegis-postgres").manifest["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


class TestPassword:
    """Generated, kept from the first run on, and nowhere but in the one Secret."""

    def test_is_ignored_once_the_state_has_one(self, rendered: Rendering) -> None:
        made = rendered.one("Secret", "aegis-postgres")
        assert made.ignored == ("data",)
        assert made.secret_inputs == {"data"}

    def test_is_another_in_each_run(self) -> None:
        first, second = (
            secret(render("staging", postgres=json.dumps({"image": IMAGE, "keepBackups": it})))
            for it in (3, 4)
        )
        assert first["password"] != second["password"]
        assert len(first["password"]) > 40

    def test_is_in_the_secret_and_nowhere_else(self, rendered: Rendering) -> None:
        password = secret(rendered)["password"]
        others = [it for it in rendered.resources if it.name != "aegis-postgres" or it.inputs]
        others = [it for it in others if not it.type.endswith(":Secret")]
        assert password not in str(others) + str(rendered.outputs)

    def test_is_the_service_s_in_its_address(self, rendered: Rendering) -> None:
        found = secret(rendered)
        address = urlsplit(found["AEGIS_DATABASE_URL"])
        assert address.password == found["password"]
        assert address.hostname == rendered.one("Service", "aegis-postgres").name
        server = variables(container(rendered.one("StatefulSet")))
        assert (address.username, address.path) == (server["PGUSER"], f"/{server['PGDATABASE']}")
        assert address.username != "postgres"


class TestTheService:
    """It and its migration read the address from that Secret, and wait for the server."""

    @pytest.mark.parametrize("kind", ["Deployment", "Job"])
    def test_reads_the_address_from_the_secret(self, rendered: Rendering, kind: str) -> None:
        told = variables(container(rendered.one(kind)))
        key = {"key": "AEGIS_DATABASE_URL", "name": "aegis-postgres"}
        assert told == {"AEGIS_DATABASE_URL": {"secretKeyRef": key}}

    def test_is_told_that_nothing_is_encrypted(self, rendered: Rendering) -> None:
        assert rendered.one("ConfigMap").manifest["data"]["AEGIS_DATABASE_TLS"] == "none"

    @pytest.mark.parametrize("kind", ["Deployment", "Job"])
    def test_waits_for_the_server(self, rendered: Rendering, kind: str) -> None:
        found = rendered.one(kind)
        parents = [it for it in rendered.resources if it.urn == found.parent]
        # What a component waits for, what is in it waits for.
        before = frozenset[str]().union(*(it.dependencies for it in [found, *parents]))
        assert rendered.one("StatefulSet").urn in before


DATASET = "0123456789abcdef" * 4


class TestDataset:
    """Each data set has a database of its own on the same server; a release says which is its."""

    @pytest.fixture
    def on_one(self) -> Rendering:
        """Staging on a data set."""
        return render("staging", postgres=json.dumps({"image": IMAGE}), dataset=DATASET)

    @pytest.mark.parametrize("kind", ["Deployment", "Job"])
    def test_the_pods_have_its_database_s_address_and_say_which_it_is(
        self, on_one: Rendering, kind: str
    ) -> None:
        found = on_one.one(kind)
        made = on_one.one("Secret", "aegis-postgres-0123456789ab")
        # The same field as without one: to change its kind is refused of an object just made.
        key = {"key": "AEGIS_DATABASE_URL", "name": made.name}
        assert variables(container(found)) == {"AEGIS_DATABASE_URL": {"secretKeyRef": key}}
        encoded = made.manifest["data"]["AEGIS_DATABASE_URL"]
        address = urlsplit(base64.b64decode(encoded).decode())
        assert (address.username, address.path) == ("aegis", "/aegis_0123456789ab")
        assert address.password == secret(on_one)["password"]
        assert made.secret_inputs == {"data"}
        assert pod(found)["metadata"]["annotations"]["aegis.dev/dataset"] == DATASET
        assert on_one.outputs["dataset"] == DATASET

    def test_the_server_is_the_same_with_and_without(
        self, on_one: Rendering, rendered: Rendering
    ) -> None:
        server = on_one.one("StatefulSet")
        assert pod(server)["spec"] == pod(rendered.one("StatefulSet"))["spec"]
        assert secret(on_one)["AEGIS_DATABASE_URL"].endswith("/aegis")

    def test_each_has_a_migration_and_backups_of_its_own(
        self, on_one: Rendering, rendered: Rendering
    ) -> None:
        assert on_one.one("Job").name != rendered.one("Job").name
        told = [variables(container(it)) for it in on_one.of_type("CronJob")]
        assert {it["BACKUPS"] for it in told} == {"/backups/aegis_0123456789ab"}
        assert {it["PGDATABASE"] for it in told} == {"aegis_0123456789ab"}
        before = [variables(container(it)) for it in rendered.of_type("CronJob")]
        assert {it["BACKUPS"] for it in before} == {"/backups"}

    def test_the_loader_s_password_is_nowhere_but_in_its_secret_and_the_server(
        self, on_one: Rendering
    ) -> None:
        made = on_one.one("Secret", "aegis-postgres-loader")
        assert made.ignored == ("data",)
        data = {k: base64.b64decode(v).decode() for k, v in made.manifest["data"].items()}
        address = urlsplit(data["DATASET_LOADER_URL"])
        assert (address.username, address.path) == ("aegis_loader", "/aegis")
        assert address.password == data["password"] != secret(on_one)["password"]
        server = on_one.one("StatefulSet")
        assert server.manifest["metadata"]["annotations"]["aegis.dev/dataset-loader"] == made.name
        users = [it for it in on_one.resources if made.name in str(it.inputs.get("spec"))]
        assert users == [server]

    @pytest.mark.parametrize(
        ("stack", "profile", "why"),
        [
            ("production", "real", "is a masked sample, and the stack serves real data"),
            ("staging", "mock", "is a masked sample, and the stack serves mock data"),
            ("staging", "sample", "and it has none: aegis:postgres is not set"),
        ],
    )
    def test_another_stack_is_refused_one(self, stack: str, profile: str, why: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            render(stack, dataset=DATASET, dataProfile=profile)
        assert why in str(wrong.value)
        assert f"pulumi config rm --stack {stack} aegis:dataset" in str(wrong.value)


class TestNetwork:
    """The service, its migrations and the backups reach the server; nobody else does."""

    def test_nobody_else_comes_in(self, rendered: Rendering) -> None:
        spec = rendered.one("NetworkPolicy", "aegis-postgres").manifest["spec"]
        (rule,) = spec["ingress"]
        assert spec["podSelector"]["matchLabels"] == {NAME: "aegis-postgres"}
        assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]
        may = {it["podSelector"]["matchLabels"][NAME] for it in rule["from"]}
        clients = [rendered.one("Deployment"), rendered.one("Job"), *rendered.of_type("CronJob")]
        assert may == {pod(it)["metadata"]["labels"][NAME] for it in clients}

    def test_each_of_them_may_leave_for_it_alone(self, rendered: Rendering) -> None:
        clients = [rendered.one("Deployment"), rendered.one("Job"), *rendered.of_type("CronJob")]
        policies = [it.manifest["spec"] for it in rendered.of_type("NetworkPolicy")]
        for it in clients:
            name = pod(it)["metadata"]["labels"][NAME]
            (egress,) = [
                rule
                for spec in policies
                if spec["podSelector"].get("matchLabels") == {NAME: name}
                for rule in spec.get("egress", [])
            ]
            server = {"podSelector": {"matchLabels": {NAME: "aegis-postgres"}}}
            assert egress == {"to": [server], "ports": [{"protocol": "TCP", "port": 5432}]}


class TestPods:
    """Confined as Pod Security ``restricted`` wants it, and more."""

    def test_are_confined(self, rendered: Rendering) -> None:
        assert len(workloads(rendered)) == 3
        for it in workloads(rendered):
            spec, only = pod(it)["spec"], container(it)
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert only["securityContext"]["readOnlyRootFilesystem"] is True
            assert only["securityContext"]["allowPrivilegeEscalation"] is False
            assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert only["image"] == IMAGE

    def test_write_to_nothing_but_volumes_that_they_have(self, rendered: Rendering) -> None:
        for it in workloads(rendered):
            names = {volume["name"] for volume in pod(it)["spec"]["volumes"]}
            assert {mount["name"] for mount in container(it)["volumeMounts"]} == names

    def test_say_nothing_that_the_kubelet_would_take_for_its_own(self, rendered: Rendering) -> None:
        for it in workloads(rendered):
            only = container(it)
            script = only["command"][-1]
            assert "$$" not in script
            assert not [name for name in variables(only) if f"$({name})" in script]

    def test_run_scripts_that_a_shell_reads(self) -> None:
        scripts = sorted(Path("components").glob("postgres_*.sh"))
        assert len(scripts) == 3
        for script in scripts:
            done = subprocess.run(["sh", "-n", script], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr

    def test_keep_to_the_policies(self, rendered: Rendering) -> None:
        stack = rendered.one("ConfigMap").manifest["data"]["AEGIS_ENVIRONMENT"]
        for more in ({}, {"dataset": DATASET, "dataProfile": "sample"}):
            resources = program(stack, postgres=json.dumps({"image": IMAGE}), **more)
            assert {rule for rule, _ in told(resources)} <= {"waived"}

    def test_find_room_in_the_namespace(self) -> None:
        def hard(rendered: Rendering) -> dict[str, str]:
            return dict(rendered.one("ResourceQuota").manifest["spec"]["hard"])

        before, after = hard(render("staging")), hard(with_one(memory="2Gi"))
        assert int(after["pods"]) - int(before["pods"]) == 3
        more = Memory.parse(before["limits.memory"]) + Memory.parse("6Gi")
        assert after["limits.memory"] == str(more)
        (limits,) = with_one(memory="2Gi").one("LimitRange").manifest["spec"]["limits"]
        assert limits["max"]["memory"] == "2Gi"
        assert limits["default"]["memory"] == "256Mi"


class TestData:
    """The volumes outlive the stack, unless its settings say otherwise."""

    def test_is_protected_and_kept_with_its_namespace(self, rendered: Rendering) -> None:
        claims = rendered.of_type("PersistentVolumeClaim")
        assert [(it.protected, it.retained) for it in claims] == [(True, True)] * 2
        assert rendered.one("kubernetes:core/v1:Namespace").retained

    def test_goes_where_the_settings_say_so(self) -> None:
        rendered = with_one(keepData=False)
        claims = rendered.of_type("PersistentVolumeClaim")
        assert [(it.protected, it.retained) for it in claims] == [(False, False)] * 2
        assert not rendered.one("kubernetes:core/v1:Namespace").retained

    def test_a_stack_without_a_database_keeps_nothing(self) -> None:
        rendered = render("staging")
        assert not rendered.one("kubernetes:core/v1:Namespace").retained
        assert not rendered.of_type("StatefulSet")

    def test_is_what_the_server_and_the_backups_are_on(self, rendered: Rendering) -> None:
        def claim(found: Registered) -> str:
            (name,) = [
                it["persistentVolumeClaim"]["claimName"]
                for it in pod(found)["spec"]["volumes"]
                if "persistentVolumeClaim" in it
            ]
            return str(name)

        assert claim(rendered.one("StatefulSet")) == "aegis-postgres-data"
        assert {claim(it) for it in rendered.of_type("CronJob")} == {"aegis-postgres-backups"}

    def test_is_backed_up_when_it_is_said_and_restored_by_hand_alone(self) -> None:
        rendered = with_one(backupAt="5 4 * * *", keepBackups=3)
        backup = rendered.one("CronJob", "aegis-postgres-backup")
        assert backup.manifest["spec"]["schedule"] == "5 4 * * *"
        assert not backup.manifest["spec"]["suspend"]
        assert variables(container(backup))["KEEP"] == "3"
        restore = rendered.one("CronJob", "aegis-postgres-restore")
        assert restore.manifest["spec"]["suspend"] is True


class TestSettings:
    """What is wrong is refused before anything is made."""

    @pytest.mark.parametrize(
        ("stack", "changes", "why"),
        [
            ("production", {"image": IMAGE}, "no database to keep production's data in"),
            ("staging", {}, "names no image, and AEGIS_POSTGRES_IMAGE names none by its digest"),
            ("staging", {"image": "postgres:17"}, "is not an image by digest"),
            ("staging", {"image": IMAGE, "storag": "1Gi"}, "the nearest is storage"),
            ("staging", {"image": IMAGE, "storage": "1"}, "is not an amount of memory"),
            ("staging", {"image": IMAGE, "memory": "64Mi"}, "is less than PostgreSQL starts with"),
            ("staging", {"image": IMAGE, "cpuRequest": 2}, "above its cpuLimit, which is 1"),
            ("staging", {"image": IMAGE, "keepBackups": 0}, "is out of range"),
            ("staging", {"image": IMAGE, "backupAt": "daily"}, "is not a schedule"),
            ("staging", {"image": IMAGE, "keepData": "no"}, "is neither true nor false"),
            ("staging", [], "is not a group of settings"),
        ],
    )
    def test_what_is_wrong_is_told(self, stack: str, changes: object, why: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            render(stack, postgres=json.dumps(changes))
        assert why in str(wrong.value)

    def test_there_is_one_database(self) -> None:
        with pytest.raises(SettingsError, match="a second database beside aegis:database"):
            render(
                "staging",
                postgres=json.dumps({"image": IMAGE}),
                database="postgresql://a:b@c/d",
            )

    def test_numbers_and_truth_may_be_text(self) -> None:
        text = {"keepBackups": "3", "keepData": "false", "cpuLimit": "2"}
        plain = {"keepBackups": 3, "keepData": False, "cpuLimit": 2}
        assert postgres_settings(text) == postgres_settings(plain) != PostgresSettings()
