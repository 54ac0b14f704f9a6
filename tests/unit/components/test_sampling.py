"""components.sampling: what takes a masked sample of production by a schedule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.quantities import Memory
from components.setting_errors import SettingsError
from tests.rendering import ROOT, Rendering, render
from tests.unit.policy.stacks import program, told

IMAGE = f"registry.example.com/aegis-data@sha256:{'a' * 64}"
NAME = "app.kubernetes.io/name"
TO = "s3://data-sets/shop?region=eu-west-1"
SECRETS = {
    "samplingSource": "postgresql://reader:hunter4@db.example.com:6432/shop",
    "samplingKey": "k" * 32,
    "samplingCredentials": "AKIAOFATEST:a-key-of-a-test",
}


def with_it(stack: str = "production", /, **changes: Any) -> Rendering:
    """A stack that is sampled; of a group, with these members beside."""
    group = {"image": IMAGE, "to": TO, **changes}
    return render(stack, sampling=json.dumps(group), **SECRETS)


@pytest.fixture
def rendered() -> Rendering:
    return with_it()


def job(rendered: Rendering) -> dict[str, Any]:
    """What each run is."""
    spec: dict[str, Any] = rendered.one("CronJob").manifest["spec"]["jobTemplate"]["spec"]
    return spec


def pod(rendered: Rendering) -> dict[str, Any]:
    found: dict[str, Any] = job(rendered)["template"]["spec"]
    return found


class TestThePod:
    """It can read one database and write to one bucket, and nothing else."""

    def test_is_nobody_and_writes_to_no_disk_but_a_place_of_its_own(
        self, rendered: Rendering
    ) -> None:
        spec = pod(rendered)
        (only,) = spec["containers"]
        assert spec["automountServiceAccountToken"] is False
        account = rendered.one("ServiceAccount", spec["serviceAccountName"])
        assert account.manifest["automountServiceAccountToken"] is False
        assert account.name == "aegis-sampling"
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert only["image"] == IMAGE
        writable = [it["mountPath"] for it in only["volumeMounts"] if not it.get("readOnly")]
        assert writable == ["/tmp"]  # noqa: S108 - the pod's own

    def test_reaches_the_database_and_the_bucket_by_their_ports(self, rendered: Rendering) -> None:
        policy = rendered.one("NetworkPolicy", "aegis-sampling").manifest["spec"]
        labels = job(rendered)["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"] == {NAME: labels[NAME]}
        assert policy["policyTypes"] == ["Egress"]
        ports = [{"protocol": "TCP", "port": it} for it in (443, 6432)]
        assert policy["egress"] == [{"ports": ports}]

    @pytest.mark.parametrize(
        ("options", "port"),
        [
            ("endpoint=http://store.example:9000", 9000),
            ("endpoint=store.example", 443),
            ("endpoint=http://store.example", 80),
        ],
    )
    def test_reaches_the_bucket_wherever_it_is(self, options: str, port: int) -> None:
        policy = with_it(to=f"s3://data-sets/shop?{options}").one("NetworkPolicy", "aegis-sampling")
        (rule,) = policy.manifest["spec"]["egress"]
        assert port in {it["port"] for it in rule["ports"]}

    def test_writes_each_run_to_a_prefix_of_its_own_and_a_try_to_the_run_s(
        self, rendered: Rendering
    ) -> None:
        (only,) = pod(rendered)["containers"]
        words = only["args"]
        assert words[words.index("--to") + 1] == "s3://data-sets/shop/$(RUN)?region=eu-west-1"
        run = next(it for it in only["env"] if it["name"] == "RUN")
        path = run["valueFrom"]["fieldRef"]["fieldPath"]
        assert path == "metadata.labels['batch.kubernetes.io/job-name']"

    def test_has_its_secrets_from_the_one_secret_and_in_no_argument(
        self, rendered: Rendering
    ) -> None:
        (secret,) = [it for it in rendered.of_type("Secret") if "sampling" in it.name]
        said = secret.manifest["stringData"]
        assert secret.secret_inputs == {"stringData"}
        assert secret.manifest["immutable"] is True
        assert said["source"] == (
            f"{SECRETS['samplingSource']}?sslmode=verify-full"
            "&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
        )
        assert said["key"] == SECRETS["samplingKey"]
        assert said["AWS_ACCESS_KEY_ID"] == "AKIAOFATEST"
        assert said["AWS_SECRET_ACCESS_KEY"] == "a-key-of-a-test"
        others = str([it.inputs for it in rendered.resources if it is not secret])
        for hidden in ("hunter4", "a-key-of-a-test", SECRETS["samplingKey"]):
            assert hidden not in others + str(rendered.outputs)

    def test_masks_by_the_rules_of_the_checkout(self, rendered: Rendering) -> None:
        name = pod(rendered)["volumes"][0]["configMap"]["name"]
        said = rendered.one("ConfigMap", name).manifest["data"]
        assert said == {"rules.yaml": (ROOT / "data-rules.yaml").read_text()}

    def test_holds_the_database_s_certificate_against_the_authority_that_is_given(
        self, authority: str
    ) -> None:
        rendered = render(
            "production",
            sampling=json.dumps({"image": IMAGE, "to": TO}),
            database="postgresql://aegis:hunter2@db.example.com/shop",
            databaseCa=authority,
            **SECRETS,
        )
        (secret,) = [it for it in rendered.of_type("Secret") if "sampling" in it.name]
        source = secret.manifest["stringData"]["source"]
        assert source.endswith("&sslrootcert=/etc/aegis/sampling/ca.pem")
        name = pod(rendered)["volumes"][0]["configMap"]["name"]
        assert "ca.pem" in rendered.one("ConfigMap", name).manifest["data"]


class TestTheRuns:
    """By the schedule, one at a time, and in room that the namespace has for them."""

    def test_come_when_it_is_said(self) -> None:
        spec = with_it(at="5 4 * * *").one("CronJob").manifest["spec"]
        assert (spec["schedule"], spec["timeZone"]) == ("5 4 * * *", "Etc/UTC")
        assert spec["concurrencyPolicy"] == "Forbid"

    def test_are_tried_again_unless_it_would_come_to_the_same(self, rendered: Rendering) -> None:
        spec = job(rendered)
        assert spec["backoffLimit"] > 0
        (rule,) = spec["podFailurePolicy"]["rules"]
        assert rule["action"] == "FailJob"
        assert rule["onExitCodes"]["values"] == [2]
        (only,) = pod(rendered)["containers"]
        assert rule["onExitCodes"]["containerName"] == only["name"]

    def test_find_room_in_the_namespace(self) -> None:
        def hard(rendered: Rendering) -> dict[str, str]:
            return dict(rendered.one("ResourceQuota").manifest["spec"]["hard"])

        before, after = hard(render("production")), hard(with_it(memory="2Gi"))
        assert int(after["pods"]) - int(before["pods"]) == 1
        more = Memory.parse(before["limits.memory"]) + Memory.parse("2Gi")
        assert after["limits.memory"] == str(more)

    def test_keep_to_the_policies(self) -> None:
        group = json.dumps({"image": IMAGE, "to": TO})
        resources = program("production", sampling=group, **SECRETS)
        assert {rule for rule, _ in told(resources)} <= {"waived"}

    def test_are_none_where_nobody_asks(self) -> None:
        assert not render("production").of_type("CronJob")


class TestSettings:
    """What is wrong is refused before anything is made."""

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"image": "aegis-data:1"}, "is not an image by digest"),
            ({"to": "gs://bucket/sets"}, "is no place in S3"),
            ({"to": "s3://bucket"}, "is no place in S3"),
            ({"at": "weekly"}, "is not a schedule"),
            ({"rules": "../rules.yaml"}, "is not the path of a file in the checkout"),
            ({"rules": "no-rules.yaml"}, "cannot be read: no-rules.yaml: No such file"),
            ({"memory": "64Mi"}, "is less than a sample takes"),
            ({"cpuRequest": 4}, "above its cpuLimit, which is 2"),
            ({"wher": "s3://a/b"}, "wher is not a setting of the sampling"),
        ],
    )
    def test_what_is_wrong_is_told(self, changes: dict[str, object], why: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            with_it(**changes)
        assert why in str(wrong.value)
        assert "hunter4" not in str(wrong.value)

    @pytest.mark.parametrize("lacks", ["image", "to"])
    def test_what_cannot_be_made_up_is_asked_for(self, lacks: str) -> None:
        group = {it: value for it, value in {"image": IMAGE, "to": TO}.items() if it != lacks}
        with pytest.raises(SettingsError, match=f"has no {lacks}"):
            render("production", sampling=json.dumps(group), **SECRETS)

    @pytest.mark.parametrize("lacks", SECRETS)
    def test_each_secret_is_asked_for(self, lacks: str) -> None:
        others = {it: value for it, value in SECRETS.items() if it != lacks}
        with pytest.raises(SettingsError) as wrong:
            render("production", sampling=json.dumps({"image": IMAGE, "to": TO}), **others)
        assert "is needed beside aegis:sampling" in str(wrong.value)
        assert f"--secret aegis:{lacks}" in str(wrong.value)

    @pytest.mark.parametrize("alone", SECRETS)
    def test_a_secret_alone_is_told(self, alone: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            render("production", **{alone: SECRETS[alone]})
        assert f"pulumi config rm --stack production aegis:{alone}" in str(wrong.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("samplingKey", "7weak"),
            ("samplingCredentials", "without-a-colon"),
            ("samplingSource", "postgresql://reader:hunter4@db/shop?sslmode=disable"),
        ],
    )
    def test_a_secret_that_is_none_is_refused_and_not_shown(self, name: str, value: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            group = json.dumps({"image": IMAGE, "to": TO})
            render("production", sampling=group, **{**SECRETS, name: value})
        assert f"aegis:{name} = (a secret)" in str(wrong.value)
        assert value not in str(wrong.value)

    @pytest.mark.parametrize(("stack", "profile"), [("staging", "sample"), ("development", "mock")])
    def test_no_other_stack_is_sampled(self, stack: str, profile: str) -> None:
        with pytest.raises(SettingsError) as wrong:
            with_it(stack)
        assert f"takes samples of real data, and the stack serves {profile} data" in str(
            wrong.value
        )
