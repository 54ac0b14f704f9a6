"""components.settings: what is wrong is said at once, and what it says works."""

from __future__ import annotations

import re

import pytest

from components.setting_errors import SettingsError
from components.setting_keys import KEYS
from tests.rendering import TOKEN, render


def refusal(stack: str, *, token: str | None = None, **changes: str | None) -> str:
    with pytest.raises(SettingsError) as caught:
        render(stack, token=token, **changes)
    return str(caught.value)


BAD_VALUES = [
    ("productionReplicas", "0", "out of range"),
    ("productionReplicas", "-1", "not a whole number"),
    ("productionReplicas", "many", "not a whole number"),
    ("productionReplicas", "2.5", "not a whole number"),
    ("autoscale", "3", "is below productionReplicas"),
    ("autoscale", "0", "out of range"),
    ("autoscale", "twice", "not a whole number"),
    ("dataset", "ab" * 32, "and it has none: aegis:postgres is not set"),
    ("dataset", "abc", "is not a data set's name"),
    ("dataset", "AB" * 32, "is not a data set's name"),
    ("autoscaleCpuPercent", "70", "has no effect without aegis:autoscale"),
    ("autoscaleCpuPercent", "0.7", "not a whole number"),
    ("cpuRequest", "100", "is below cpuRequest"),
    ("cpuRequest", "0", "is nothing"),
    ("cpuLimit", "50m", "is below cpuRequest"),
    ("memoryRequest", "128", "not an amount of memory"),
    ("memoryLimit", "64Mi", "is below memoryRequest"),
    ("databaseCa", "/etc/ca.pem", "is not the path of a file in the checkout"),
    ("schema", "12", "is not two or three whole numbers"),
    ("contractAfter", "7", "is not a number of minutes, hours or days"),
    ("contractAfter", "0d", "is not a number of minutes, hours or days"),
    ("scale", "2", "not above 0 and at most 1"),
    ("scale", "0", "not above 0 and at most 1"),
    ("scale", "half", "neither a number nor minimal"),
    ("dataProfile", "fake", "not one of them"),
    ("mockRows", "0", "out of range"),
    ("registry", "https://registry.example.com", "not a registry's address"),
    ("registry", "registry.example.com/", "not a registry's address"),
    ("registry", "Registry.example.com", "not a registry's address"),
    ("imageDigest", "latest", "not a digest"),
    ("imageDigest", f"sha256:{'A' * 64}", "not a digest"),
    ("version", "1.2.3", "the image is built from the checkout"),
    ("baseImage", "python 3.11", "not an image reference"),
    ("runtimeImage", "-x", "not an image reference"),
    ("platform", "windows/amd64", "not one of them"),
    ("host", "https://aegis.example.com", "not a host name"),
    ("host", "aegis_.example.com", "not a host name"),
    ("ingressClass", "nginx", "has no effect without aegis:host"),
    ("gateway", "gateways/public", "has no effect without aegis:host"),
    ("gateway", "public", "is not the name of a Gateway with its namespace"),
    ("gateway", "a/b/c/d", "is not the name of a Gateway with its namespace"),
    ("tlsSecret", "aegis-tls", "has no effect without aegis:host"),
    ("tlsSecret", "-tls", "is not a Secret's name"),
    ("tlsIssuer", "ClusterIssuer/letsencrypt", "has no effect without aegis:host"),
    ("tlsIssuer", "letsencrypt", "is not an issuer's kind and name"),
    ("clientNamespaces", "gateways, traefik", "is not a list of namespaces"),
    ("logLevel", "loud", "not one of them"),
    ("gate", "5 s", "is not a group of settings"),
    ("gate", '{"bakeSecond": 5}', "the nearest is bakeSeconds"),
    ("gate", '{"successRatio": 2}', "out of range"),
    ("preStopSeconds", "0", "out of range"),
    ("drainSeconds", "10s", "not a whole number"),
    ("minReadySeconds", "999", "out of range"),
    ("minReadySeconds", "200", "would call every rollout failed"),
    ("progressDeadlineSeconds", "5", "out of range"),
    ("postgres", '{"storag": "1Gi"}', "is not a setting of the database"),
]


class TestBadValues:
    """A wrong value is refused, by itself or held against another."""

    @pytest.mark.parametrize(("name", "value", "why"), BAD_VALUES)
    def test_are_refused_with_key_value_why_and_a_command(
        self, name: str, value: str, why: str
    ) -> None:
        message = refusal("staging", **{name: value})
        assert "1 setting is wrong for stack staging; nothing was changed" in message
        assert why in message
        assert repr(value) in message or why.startswith(("is below", "would call"))
        assert "allowed: " in message
        assert re.search(r"next: +pulumi config (set|rm) --stack staging aegis:\w+", message)

    def test_every_setting_is_in_the_table(self) -> None:
        tried = {name for name, _, _ in BAD_VALUES} | {"apiToken", "database"}
        assert tried == {key.name for key in KEYS}

    def test_all_are_said_at_once(self) -> None:
        message = refusal("staging", scale="9", logLevel="loud", host="No", replicsa="4")
        assert "4 settings are wrong" in message
        for name in ("scale", "logLevel", "host", "replicsa"):
            assert f"aegis:{name}" in message

    def test_a_wrong_value_is_not_blamed_on_another(self) -> None:
        assert "1 setting is" in refusal("staging", cpuRequest="lots", cpuLimit="50m")
        assert "1 setting is" in refusal("staging", imageDigest="latest", version="1.2.3")

    def test_a_long_value_is_cut(self) -> None:
        assert "x" * 200 not in refusal("staging", logLevel="x" * 200)

    @pytest.mark.parametrize(
        ("changes", "better"),
        [
            ({"cpuLimit": "50m"}, {"cpuLimit": "100m"}),
            ({"memoryLimit": "64Mi"}, {"memoryLimit": "128Mi"}),
            ({"minReadySeconds": "200"}, {"progressDeadlineSeconds": "260"}),
            ({"dataProfile": "real"}, {"dataProfile": "sample"}),
            ({"scale": "2"}, {"scale": "0.5"}),
            ({"autoscale": "3"}, {"autoscale": "4"}),
            ({"autoscaleCpuPercent": "70"}, {"autoscale": "12"}),
            ({"autoscaleCpuPercent": "70", "productionReplicas": "20"}, {"autoscale": "20"}),
        ],
    )
    def test_the_command_it_gives_works(
        self, changes: dict[str, str], better: dict[str, str]
    ) -> None:
        message = refusal("staging", **changes)
        for name, value in better.items():
            assert f"pulumi config set --stack staging aegis:{name} {value}" in message
        assert render("staging", **{**changes, **better}).resources


class TestTheWayIn:
    """A host is an Ingress's or an HTTPRoute's, and what belongs to the one is not the other's."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ingressClass", "nginx"),
            ("tlsSecret", "aegis-tls"),
            ("tlsIssuer", "Issuer/own"),
        ],
    )
    def test_what_is_an_ingress_s_is_refused_beside_a_gateway(self, name: str, value: str) -> None:
        both = {"host": "a.example.com", "gateway": "gateways/public", name: value}
        message = refusal("staging", **both)
        assert "is an Ingress's, and aegis:gateway is set" in message
        assert f"pulumi config rm --stack staging aegis:{name}" in message

    @pytest.mark.parametrize(
        ("gate", "why", "fix"),
        [
            ('{"through": "ingress"}', "there is none without aegis:host", "rm"),
            (
                '{"canary": "10%"}',
                "is a share of requests, which only an HTTPRoute can give",
                "set",
            ),
            ('{"address": "lb.test"}', "has no effect without aegis:gate.through ingress", "set"),
        ],
    )
    def test_a_gate_that_cannot_take_it_is_refused(self, gate: str, why: str, fix: str) -> None:
        message = refusal("staging", gate=gate)
        assert why in message
        assert f"pulumi config {fix} --stack staging " in message

    def test_a_share_lasts_for_a_while(self) -> None:
        both = {"host": "a.example.com", "gateway": "gateways/public"}
        message = refusal("staging", gate='{"canary": "10%", "bakeSeconds": 0}', **both)
        assert "would be over at once" in message
        assert "pulumi config set --stack staging --path aegis:gate.bakeSeconds 15" in message

    def test_a_gate_may_take_it(self) -> None:
        gate = '{"through": "ingress", "address": "lb.test:30443"}'
        assert render("staging", host="a.example.com", gate=gate).resources

    def test_a_wrong_host_is_the_only_one_blamed(self) -> None:
        assert "1 setting is" in refusal("staging", host="No", gateway="gateways/public")


class TestMissingValues:
    """A value that must be there is asked for."""

    @pytest.mark.parametrize("name", ["scale", "dataProfile", "productionReplicas", "cpuLimit"])
    def test_are_said_with_a_command(self, name: str) -> None:
        message = refusal("production", **{name: None})
        assert f"aegis:{name}\n" in message
        assert "is not set" in message
        assert f"pulumi config set --stack production aegis:{name} " in message

    def test_a_registry_may_be_the_shells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.rendering._ENVIRONMENT", {"AEGIS_GIT_SHA": "f" * 40})
        message = refusal("staging", host="a.example.com")
        assert "aegis:registry\n" in message
        assert "export AEGIS_REGISTRY=" in message

    def test_a_bad_variable_is_called_by_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        environment = {"AEGIS_GIT_SHA": "f" * 40, "AEGIS_REGISTRY": "http://r"}
        monkeypatch.setattr("tests.rendering._ENVIRONMENT", environment)
        message = refusal("staging", host="b.example.com")
        assert "AEGIS_REGISTRY = 'http://r'" in message
        assert "next:  export AEGIS_REGISTRY=" in message

    def test_the_stacks_value_goes_before_the_shells(self) -> None:
        rendering = render("staging", registry="other.example.com:5000/team")
        image = rendering.one("docker:index/image:Image")
        assert image.inputs["imageName"].startswith("other.example.com:5000/team/aegis:")


class TestUnknownKeys:
    """A key nobody reads is a mistake, not a comment."""

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("replicas", "productionReplicas"),
            ("loglevel", "logLevel"),
            ("image-digest", "imageDigest"),
            ("dataprofil", "dataProfile"),
        ],
    )
    def test_are_refused_with_the_nearest_name(self, name: str, nearest: str) -> None:
        message = refusal("staging", **{name: "x"})
        assert f"is not a setting; the nearest is aegis:{nearest}" in message
        assert f"pulumi config rm --stack staging aegis:{name}" in message

    def test_far_from_any_setting_no_name_is_guessed(self) -> None:
        assert "the nearest is" not in refusal("staging", zzzzqqqq="x")

    def test_do_not_show_their_value(self) -> None:
        assert "hunter2hunter2" not in refusal("staging", apiTokn="hunter2hunter2")

    def test_the_providers_that_would_have_no_effect_are_refused(self) -> None:
        message = refusal("staging", **{"kubernetes:namespace": "elsewhere"})
        assert "kubernetes:namespace" in message
        assert "has no effect here" in message

    def test_other_packages_may_have_theirs(self) -> None:
        assert render("staging", **{"docker:host": "unix:///x"}).resources


class TestStackName:
    """A stack is one of the three environments."""

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [("prod", "production"), ("Staging", "staging"), ("qa", "development")],
    )
    def test_any_other_is_refused(self, name: str, nearest: str) -> None:
        message = refusal(name)
        assert f"stack = '{name}'" in message
        assert "allowed: development, staging, production" in message
        assert f"pulumi stack select --create {nearest}" in message


class TestDataPairing:
    """Each environment serves the data that belongs there."""

    @pytest.mark.parametrize(
        ("stack", "profile"),
        [
            ("development", "mock"),
            ("development", "sample"),
            ("staging", "sample"),
            ("staging", "mock"),
            ("production", "real"),
        ],
    )
    def test_a_fitting_profile_reaches_the_service(self, stack: str, profile: str) -> None:
        data = render(stack, dataProfile=profile).one("ConfigMap").manifest["data"]
        assert data["AEGIS_DATA_PROFILE"] == profile
        assert data["AEGIS_ENVIRONMENT"] == stack

    @pytest.mark.parametrize(
        ("stack", "profile"),
        [
            ("development", "real"),
            ("staging", "real"),
            ("production", "mock"),
            ("production", "sample"),
        ],
    )
    def test_a_wrong_pairing_is_refused(self, stack: str, profile: str) -> None:
        message = refusal(stack, dataProfile=profile)
        assert f"data does not belong in {stack}" in message


class TestMockRows:
    """How many records are made up, where any are."""

    def test_reaches_the_service_where_it_is_set(self) -> None:
        data = render("development", mockRows="250").one("ConfigMap").manifest["data"]
        assert data["AEGIS_MOCK_ROWS"] == "250"
        assert "AEGIS_MOCK_ROWS" not in render("development").one("ConfigMap").manifest["data"]

    def test_beside_other_data_is_refused(self) -> None:
        message = refusal("staging", mockRows="250")
        assert "has no effect beside aegis:dataProfile sample" in message
        assert "pulumi config rm --stack staging aegis:mockRows" in message

    def test_beside_a_database_is_refused(self) -> None:
        message = refusal("development", mockRows="250", database="postgresql://a:b@c/d")
        assert "a database's records are served" in message


class TestApiToken:
    """A secret is stored as one, and never shown."""

    def test_in_plain_text_is_refused_and_not_repeated(self) -> None:
        message = refusal("staging", apiToken=TOKEN)
        assert "is stored in plain text" in message
        assert "pulumi config set --stack staging --secret aegis:apiToken" in message
        assert TOKEN not in message

    @pytest.mark.parametrize("token", ["7hort", "", "with a space in the middle", "ключ" * 8])
    def test_a_weak_one_is_refused_and_not_repeated(self, token: str) -> None:
        message = refusal("staging", token=token)
        assert "aegis:apiToken = (a secret)" in message
        assert not token or token not in message
