"""components.database, components.migration: a stack that is given a database's address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.model.database.data_probes import of_template
from aegis_deploy.model.database.schema import (
    CONTRACT_ARGS,
    HEAD,
    IRREVERSIBLE,
    JOB,
    LEAST,
    PLAN_ARGS,
    CodeSchema,
)
from app import migrate
from components.database import Database, parse_address
from components.setting_errors import SettingsError
from components.source import SCHEMA_FILE, SourceError, read_schema
from tests.rendering import ROOT, Rendering, render
from tests.unit.components.authority import certificate

_said = read_schema(ROOT)
assert _said is not None
CODE = _said
PASSWORD = "a-password-of-a-test"
ADDRESS = f"postgresql://aegis:{PASSWORD}@db.example.com:6432/records"
DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def rendered(authority: str) -> Rendering:
    """Staging with a database and its authority."""
    return render("staging", database=ADDRESS, databaseCa=authority)


def pod_of(rendered: Rendering, kind: str) -> dict[str, Any]:
    template: dict[str, Any] = rendered.one(kind).manifest["spec"]["template"]
    return template


class TestTheService:
    """It gets the address as a secret, the authority as a file, and a way out to the port."""

    def test_the_password_is_in_the_secret_and_nowhere_else(self, rendered: Rendering) -> None:
        (secret,) = rendered.of_type("Secret")
        assert secret.manifest["stringData"]["AEGIS_DATABASE_URL"] == ADDRESS
        others = [str(it) for it in rendered.resources if it is not secret]
        assert PASSWORD not in "".join(others) + str(rendered.outputs)

    def test_the_authority_is_a_file_that_the_settings_name(self, rendered: Rendering) -> None:
        data = rendered.one("ConfigMap").manifest["data"]
        spec = pod_of(rendered, "Deployment")["spec"]
        (volume,), (mount,) = spec["volumes"], spec["containers"][0]["volumeMounts"]
        (item,) = volume["configMap"]["items"]
        assert data[item["key"]] == certificate()
        assert data["AEGIS_DATABASE_CA"] == f"{mount['mountPath']}/{item['path']}"
        assert mount["readOnly"]

    def test_its_pods_may_leave_for_the_database_s_port_alone(self, rendered: Rendering) -> None:
        spec = rendered.one("NetworkPolicy", "aegis-api-database").manifest["spec"]
        assert spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "aegis-api"}
        assert spec["egress"] == [{"ports": [{"protocol": "TCP", "port": 6432}]}]

    def test_its_pods_say_with_which_databases_they_work(self, rendered: Rendering) -> None:
        said = pod_of(rendered, "Deployment")["metadata"]["annotations"]
        code = CODE
        assert (said[HEAD], said[LEAST]) == (str(code.head), str(code.least))
        assert rendered.outputs["schema"] == {"head": code.head, "least": code.least}

    def test_what_is_irreversible_is_said_by_them_and_by_the_migration(self) -> None:
        found = render("staging", database=ADDRESS, imageDigest=DIGEST, schema="9/4/7")
        for kind in ("Deployment", "Job"):
            assert pod_of(found, kind)["metadata"]["annotations"][IRREVERSIBLE] == "7"
        assert found.outputs["schema"] == {"head": 9, "least": 4, "irreversible": 7}
        assert IRREVERSIBLE not in str(
            render("staging", database=ADDRESS, imageDigest=DIGEST, schema="9/4").resources
        )

    def test_its_pods_say_how_the_gate_sees_that_their_data_is_read_and_written(
        self, rendered: Rendering
    ) -> None:
        said = of_template(rendered.one("Deployment").manifest)
        assert (said.read, said.write) == ("/probe", "/probe")

    def test_a_stack_without_one_says_and_mounts_nothing(self) -> None:
        without = render("staging")
        template = pod_of(without, "Deployment")
        assert "annotations" not in template["metadata"]
        assert "volumes" not in template["spec"]
        # Of the image it is known all the same: another stack that gets it may have one.
        assert without.outputs["schema"] == CODE.as_json()
        assert without.of_type("Job") == []


class TestTheMigration:
    """A Job with the release's image runs before the rollout, as confined as the service."""

    def test_the_rollout_waits_for_it(self, rendered: Rendering) -> None:
        assert rendered.one("Job").urn in rendered.one("Deployment").dependencies

    def test_it_runs_the_release_s_image_with_the_service_s_settings(
        self, rendered: Rendering
    ) -> None:
        (migrate,) = pod_of(rendered, "Job")["spec"]["containers"]
        (service,) = pod_of(rendered, "Deployment")["spec"]["containers"]
        assert migrate["command"] == ["python3", "-m", "app.migrate"]
        for same in ("image", "envFrom", "resources", "volumeMounts", "securityContext"):
            assert migrate[same] == service[same], same

    def test_it_is_no_pod_of_the_service_s(self, rendered: Rendering) -> None:
        labels = pod_of(rendered, "Job")["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] != "aegis-api"
        name = rendered.one("Job").manifest["metadata"]["name"]
        spec = rendered.one("NetworkPolicy", name).manifest["spec"]
        assert spec["podSelector"]["matchLabels"].items() <= labels.items()

    def test_it_is_told_for_a_migration_and_no_token_is_mounted(self, rendered: Rendering) -> None:
        template = pod_of(rendered, "Job")
        said = template["metadata"]["annotations"]
        assert said[JOB] == "true"
        assert json.loads(said[CONTRACT_ARGS]) == ["--contract"]
        assert json.loads(said[PLAN_ARGS]) == ["--contract", "--plan"]
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["securityContext"]["runAsNonRoot"]

    def test_one_that_failed_is_run_again(self, rendered: Rendering) -> None:
        made = rendered.one("Job").manifest["metadata"]
        assert made["annotations"] == {"pulumi.com/replaceUnready": "true"}

    def test_what_would_fail_again_is_not_tried_again(self, rendered: Rendering) -> None:
        spec = rendered.one("Job").manifest["spec"]
        (rule,) = spec["podFailurePolicy"]["rules"]
        codes = rule["onExitCodes"]
        assert rule["action"] == "FailJob"
        assert codes["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
        final = {migrate.EXIT_SETTINGS, migrate.EXIT_REFUSED, migrate.EXIT_FAILED}
        assert (codes["operator"], set(codes["values"])) == ("In", final)

    def test_its_name_is_of_its_schema_and_its_database(self, rendered: Rendering) -> None:
        def name(address: str) -> str:
            made = render("staging", database=address)
            return str(made.one("Job").manifest["metadata"]["name"])

        first = rendered.one("Job").manifest["metadata"]["name"]
        assert first.startswith(f"aegis-api-migrate-{CODE.head}-")
        assert name(ADDRESS.replace(PASSWORD, "another")) == first
        assert name(ADDRESS.replace("/records", "/others")) != first


class TestSettings:
    """What is wrong is refused before anything is made, and no password is shown."""

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"database": "mysql://a:b@c/d"}, "is not an address that begins with postgresql://"),
            ({"database": "postgresql://a:b@c"}, "without a user, a host or a database's name"),
            ({"database": "postgresql://a:b@c:port/d"}, "whose port is no number"),
            ({"database": f"{ADDRESS}?sslmode=disable"}, "sets sslmode, which the service sets"),
            ({"database": ADDRESS, "databaseCa": "none.pem"}, "cannot be read: No such file"),
            ({"database": ADDRESS, "databaseCa": "LICENSE"}, "is not a certificate in PEM"),
            ({"databaseCa": "of-a-test.pem"}, "has no effect without aegis:database"),
            ({"database": ADDRESS, "schema": "1/1"}, "the image is built from the checkout"),
            ({"database": ADDRESS, "imageDigest": DIGEST}, "is not said of the image"),
            (
                {"database": ADDRESS, "imageDigest": DIGEST, "schema": "1"},
                "is not two or three whole",
            ),
            ({"database": ADDRESS, "imageDigest": DIGEST, "schema": "1/2"}, "does not know"),
        ],
    )
    def test_what_is_wrong_is_told(self, changes: dict[str, str], why: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            render("staging", **changes)
        assert why in str(wrong.value)
        assert PASSWORD not in str(wrong.value)

    def test_a_checkout_with_a_service_of_its_own_says_nothing_and_needs_to_say_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert read_schema(tmp_path) is None
        (tmp_path / SCHEMA_FILE).parent.mkdir(parents=True)
        (tmp_path / SCHEMA_FILE).write_text("{}")
        with pytest.raises(SourceError, match="head"):
            read_schema(tmp_path)
        monkeypatch.setattr("components.settings.read_schema", lambda _: None)
        made = render("staging", logLevel="error", drainSeconds="7")
        assert "schema" not in made.outputs
        with pytest.raises(SettingsError, match=f"which has no {SCHEMA_FILE}"):
            render("staging", logLevel="error", drainSeconds="7", database=ADDRESS)

    def test_an_image_that_is_named_says_its_own(self) -> None:
        made = render("production", database=ADDRESS, imageDigest=DIGEST, schema="7/5")
        said = pod_of(made, "Deployment")["metadata"]["annotations"]
        assert (said[HEAD], said[LEAST]) == ("7", "5")
        assert "-migrate-7-" in made.one("Job").manifest["metadata"]["name"]

    def test_the_usual_port_and_the_account_are_no_part_of_the_place(self) -> None:
        made = Database(address="postgres://a:b@DB.example/c", schema=CodeSchema(head=1, least=1))
        assert (made.port, made.place) == (5432, "db.example:5432/c")
        assert "b@" not in repr(made)

    def test_what_is_right_is_kept_as_it_is(self) -> None:
        assert parse_address(ADDRESS) == ADDRESS
