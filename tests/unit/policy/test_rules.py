"""Each rule: a spec that keeps to it, one that does not, and a message that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.model.cluster_scoped import CLUSTER_SCOPED
from components.setting_keys import DATA_PROFILES
from policy.aegis_policy.resources import UNKNOWN, Resource, Secret
from policy.aegis_policy.rule import Level
from policy.aegis_policy.rules import RULES, data_profile, namespace_of_stack
from tests.unit.policy.stacks import GONE, REPLICAS, changed, program, resource, told

POD = "spec.template.spec"
BOX = f"{POD}.containers.0"
SECURITY = f"{BOX}.securityContext"
ROLLING = "spec.strategy.rollingUpdate"
DIGEST = f"sha256:{'a' * 64}"
HOST_PORT = {"containerPort": 8000, "hostPort": 80}
RBAC = "rbac.authorization.k8s.io"
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE"

FAILING: list[tuple[str, str, dict[str, Any], str]] = [
    # rule, kind of object, what is changed in it, what the message says
    ("rolling-update", "Deployment", {"spec.strategy.type": "Recreate"}, "RollingUpdate"),
    ("rolling-update", "Deployment", {f"{ROLLING}.maxUnavailable": 1}, "Set it to 0"),
    ("rolling-update", "Deployment", {f"{ROLLING}.maxUnavailable": "25%"}, "Set it to 0"),
    ("rolling-update", "Deployment", {f"{ROLLING}.maxUnavailable": GONE}, "so a quarter"),
    ("rolling-update", "Deployment", {f"{ROLLING}.maxSurge": "0%"}, "Set it to 1 or more"),
    ("rolling-update", "Deployment", {"spec.minReadySeconds": GONE}, "few seconds"),
    ("rolling-update", "Deployment", {"spec.progressDeadlineSeconds": 3}, "Raise it"),
    ("image-by-digest", "Deployment", {f"{BOX}.image": "r.example/a:1.2"}, "@sha256:<digest>"),
    (
        "image-by-digest",
        "Deployment",
        {f"{BOX}.image": "r.example/a@sha256:12"},
        "@sha256:<digest>",
    ),
    ("no-latest-tag", "Deployment", {f"{BOX}.image": "r.example:5000/a"}, "by its digest"),
    ("no-latest-tag", "Deployment", {f"{BOX}.image": f"a:latest@{DIGEST}"}, "by its digest"),
    ("resource-limits", "Deployment", {f"{BOX}.resources.limits.memory": GONE}, "memoryLimit"),
    ("resource-limits", "Deployment", {f"{BOX}.resources.requests.cpu": "0"}, "cpuRequest"),
    (
        "resource-limits",
        "Deployment",
        {f"{BOX}.resources.requests.cpu": "1500m"},
        "Raise the limit",
    ),
    ("resource-limits", "Deployment", {f"{BOX}.resources": GONE}, "limits.cpu"),
    ("probes", "Deployment", {f"{BOX}.startupProbe": GONE}, "Add one"),
    ("probes", "Deployment", {f"{BOX}.readinessProbe": GONE}, "requests reach a pod"),
    ("probes", "Deployment", {f"{BOX}.livenessProbe": GONE}, "stays for ever"),
    ("probes", "Deployment", {f"{BOX}.livenessProbe.httpGet.path": "/readyz"}, "asks the same"),
    ("probes", "Deployment", {f"{BOX}.livenessProbe.periodSeconds": 1}, "Raise periodSeconds"),
    ("grace-period", "Deployment", {f"{POD}.terminationGracePeriodSeconds": 25}, "30 or more"),
    ("grace-period", "Deployment", {f"{BOX}.lifecycle.preStop.sleep.seconds": 10}, "35 or more"),
    ("grace-period", "Deployment", {f"{BOX}.lifecycle": GONE}, "preStop.sleep.seconds"),
    ("grace-period", "ConfigMap", {"data.AEGIS_DRAIN_SECONDS": "40"}, "50 or more"),
    ("disruption-budget", "PodDisruptionBudget", {"spec.maxUnavailable": 0}, "maxUnavailable: 1"),
    (
        "disruption-budget",
        "PodDisruptionBudget",
        {"spec.maxUnavailable": GONE, "spec.minAvailable": "90%"},
        "maxUnavailable: 1",
    ),
    (
        "disruption-budget",
        "PodDisruptionBudget",
        {"spec.selector.matchLabels": {"app": "other"}},
        "guards nothing",
    ),
    ("disruption-budget", "PodDisruptionBudget", {"metadata.namespace": "x"}, "Add one"),
    (
        "disruption-budget",
        "PodDisruptionBudget",
        {"spec.unhealthyPodEvictionPolicy": GONE},
        "AlwaysAllow",
    ),
    ("no-privilege", "Deployment", {f"{SECURITY}.privileged": True}, "Remove"),
    ("no-privilege", "Deployment", {f"{SECURITY}.allowPrivilegeEscalation": GONE}, "Set allow"),
    ("no-privilege", "Deployment", {f"{SECURITY}.readOnlyRootFilesystem": False}, "Set read"),
    ("no-privilege", "Deployment", {f"{SECURITY}.capabilities.drop": ["NET_RAW"]}, "[ALL]"),
    ("no-privilege", "Deployment", {f"{SECURITY}.capabilities.add": ["SYS_ADMIN"]}, "SYS_ADMIN"),
    ("no-privilege", "Deployment", {f"{SECURITY}.runAsNonRoot": False}, "runAsNonRoot: true"),
    ("no-privilege", "Deployment", {f"{POD}.securityContext.runAsUser": 0}, "runAsUser above 0"),
    (
        "no-privilege",
        "Deployment",
        {f"{POD}.securityContext.seccompProfile": GONE},
        "RuntimeDefault",
    ),
    ("no-privilege", "Deployment", {f"{POD}.hostNetwork": True}, "hostNetwork"),
    ("no-privilege", "Deployment", {f"{POD}.automountServiceAccountToken": GONE}, "false"),
    (
        "no-privilege",
        "Deployment",
        {f"{POD}.volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
        "Use another kind",
    ),
    (
        "no-privilege",
        "Deployment",
        {f"{BOX}.ports": [HOST_PORT]},
        "Use a Service",
    ),
    (
        "no-privilege",
        "Namespace",
        {"metadata.labels": {"pod-security.kubernetes.io/enforce": "baseline"}},
        "restricted",
    ),
    ("namespace-of-stack", "Service", {"metadata.namespace": GONE}, "aegis-production"),
    ("namespace-of-stack", "Service", {"metadata.namespace": "aegis-staging"}, "aegis-production"),
    ("namespace-of-stack", "Namespace", {"metadata.name": "shared"}, "aegis-production"),
    ("production-spread", "Deployment", {"spec.replicas": 1}, "2 or more"),
    ("production-spread", "Deployment", {f"{POD}.topologySpreadConstraints": GONE}, "Add a"),
    (
        "production-spread",
        "Deployment",
        {f"{POD}.topologySpreadConstraints.1.labelSelector.matchLabels": {"app": "other"}},
        "matches the pods",
    ),
    ("data-profile", "ConfigMap", {"data.AEGIS_DATA_PROFILE": "mock"}, "dataProfile real"),
    ("data-profile", "ConfigMap", {"data.AEGIS_ENVIRONMENT": "staging"}, "Set it to production"),
    (
        "data-profile",
        "Deployment",
        {f"{BOX}.env": [{"name": "AEGIS_DATA_PROFILE", "value": "sample"}]},
        "dataProfile real",
    ),
    ("secrets-are-secret", "ConfigMap", {"data.DB_PASSWORD": "hunter22"}, "--secret"),
    ("secrets-are-secret", "ConfigMap", {"data.apiToken": "hunter22"}, "secretRef"),
    ("secrets-are-secret", "ConfigMap", {"data.SETTINGS": PRIVATE_KEY}, "secretRef"),
    ("secrets-are-secret", "ConfigMap", {"data.DB": "postgres://a:hunter22@db/x"}, "secretRef"),
    ("secrets-are-secret", "ConfigMap", {"data.HARMLESS": Secret("hunter22")}, "Pulumi keeps"),
    ("secrets-are-secret", "ConfigMap", {"data": Secret({"A": "hunter22"})}, "Pulumi keeps"),
    (
        "secrets-are-secret",
        "Deployment",
        {f"{BOX}.env": [{"name": "API_TOKEN", "value": "hunter22"}]},
        "secretKeyRef",
    ),
    ("secrets-are-secret", "Deployment", {f"{BOX}.args": ["--password=hunter22"]}, "args[0]"),
    ("secrets-are-secret", "Deployment", {f"{BOX}.args": ["--token", "hunter22"]}, "args[1]"),
    (
        "secrets-are-secret",
        "Service",
        {"metadata.annotations": {"x/token": "hunter22"}},
        "secretRef",
    ),
    ("secrets-are-secret", "Secret", {"stringData": {"A": "hunter22"}}, "require_secret"),
]

PASSING: list[tuple[str, str, dict[str, Any]]] = [
    ("rolling-update", "Deployment", {f"{ROLLING}.maxUnavailable": "0%"}),
    ("rolling-update", "Deployment", {"spec.progressDeadlineSeconds": GONE}),
    ("image-by-digest", "Deployment", {f"{BOX}.image": UNKNOWN}),
    ("no-latest-tag", "Deployment", {f"{BOX}.image": f"r.example/a:1.2@{DIGEST}"}),
    ("resource-limits", "Deployment", {f"{BOX}.resources.requests.cpu": "1000m"}),
    ("probes", "Deployment", {f"{BOX}.livenessProbe": UNKNOWN}),
    ("grace-period", "Deployment", {f"{POD}.terminationGracePeriodSeconds": 26}),
    (
        "grace-period",
        "Deployment",
        {f"{BOX}.lifecycle.preStop": {"exec": {"command": ["/bin/sh", "-c", "sleep 5"]}}},
    ),
    (
        "disruption-budget",
        "PodDisruptionBudget",
        {
            "spec.maxUnavailable": GONE,
            "spec.minAvailable": "75%",
            "spec.selector": {
                "matchExpressions": [{"key": "app.kubernetes.io/version", "operator": "Exists"}]
            },
        },
    ),
    ("no-privilege", "Deployment", {f"{SECURITY}.capabilities.add": ["NET_BIND_SERVICE"]}),
    ("namespace-of-stack", "Service", {"metadata.namespace": UNKNOWN}),
    (
        "production-spread",
        "Deployment",
        {
            f"{POD}.topologySpreadConstraints": GONE,
            f"{POD}.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {}}}
            ],
        },
    ),
    ("data-profile", "ConfigMap", {"data.AEGIS_DATA_PROFILE": UNKNOWN}),
    (
        "secrets-are-secret",
        "ConfigMap",
        {
            "data.API_TOKEN_FILE": "/run/token",
            "data.PASSWORD": "",
            "data.TOKENS_PER_SECOND": "5",
            "data.HOME": "https://example.com/a@b",
            "data.MONKEY": "banana",
        },
    ),
    (
        "secrets-are-secret",
        "Deployment",
        {f"{BOX}.env": [{"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
    ),
    ("secrets-are-secret", "Secret", {"stringData": {"A": Secret("hunter22")}}),
    ("secrets-are-secret", "Secret", {"stringData": UNKNOWN}),
]


def _role(rules: list[dict[str, Any]]) -> Resource:
    metadata = {"name": "r", "namespace": "aegis-production"}
    inputs = {"kind": "Role", "metadata": metadata, "rules": rules}
    return resource("production", "kubernetes:rbac.authorization.k8s.io/v1:Role", "r", inputs)


def _binding(role: str, subject: str) -> Resource:
    inputs = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": subject}],
    }
    kind = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding"
    return resource("production", kind, "b", inputs)


READS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


def _image(name: str) -> Resource:
    return resource("production", "docker:index/image:Image", "i", {"imageName": name})


ADDED: list[tuple[str, Resource, str | None]] = [
    # rule, what is added to the program, what the message says; None for nothing
    ("no-wildcard-rbac", _role([READS]), None),
    ("no-wildcard-rbac", _role([{**READS, "verbs": ["*"]}]), "List what is needed"),
    ("no-wildcard-rbac", _role([READS, {**READS, "resources": ["*"]}]), "rules[1].resources"),
    ("no-wildcard-rbac", _role([{**READS, "verbs": ["escalate"]}]), "Remove it"),
    ("no-wildcard-rbac", _binding("view", "team"), None),
    ("no-wildcard-rbac", _binding("cluster-admin", "team"), "Make a Role"),
    ("no-wildcard-rbac", _binding("view", "system:authenticated"), "Name a ServiceAccount"),
    ("no-latest-tag", _image("r.example:5000/aegis:0123456"), None),
    ("no-latest-tag", _image("r.example:5000/aegis"), "such as the commit"),
    ("no-latest-tag", _image("r.example/aegis:latest"), "such as the commit"),
    ("namespace-of-stack", _binding("view", "team"), None),
]


class TestTheProgram:
    """What this repository deploys keeps to all of its own rules."""

    @pytest.mark.parametrize("stack", ["development", "staging", "production"])
    def test_has_no_violations(self, stack: str) -> None:
        assert told(program(stack)) == []

    def test_would_not_without_its_size(self) -> None:
        assert [name for name, _ in told(program("staging"), 6)] == ["staging-is-half"]


class TestEachRule:
    """A failing spec is refused by that rule alone, with what to do; a passing one is not."""

    @pytest.mark.parametrize(("rule", "kind", "changes", "says"), FAILING)
    def test_refuses(self, rule: str, kind: str, changes: dict[str, Any], says: str) -> None:
        found = [text for name, text in told(changed("production", kind, changes)) if name == rule]
        assert any(says in text for text in found), found
        assert not any("hunter22" in text or "MIIE" in text for text in found)

    @pytest.mark.parametrize(("rule", "kind", "changes"), PASSING)
    def test_permits(self, rule: str, kind: str, changes: dict[str, Any]) -> None:
        found = told(changed("production", kind, changes))
        assert [text for name, text in found if name == rule] == []

    @pytest.mark.parametrize(("rule", "added", "says"), ADDED)
    def test_judges_what_the_program_has_not(
        self, rule: str, added: Resource, says: str | None
    ) -> None:
        found = [text for name, text in told([*program("production"), added]) if name == rule]
        assert found == [] if says is None else any(says in text for text in found)

    def test_has_a_failing_spec(self) -> None:
        tried = {row[0] for row in FAILING} | {row[0] for row in ADDED if row[2]}
        elsewhere = {"staging-is-half", "waived"}
        assert tried | elsewhere == {rule.name for rule in RULES}

    def test_has_a_file_of_its_own(self) -> None:
        files = Path(data_profile.__file__).parent.glob("[!_]*.py")
        assert {path.stem.replace("_", "-") for path in files} == {rule.name for rule in RULES}

    def test_is_mandatory_unless_it_only_tells(self) -> None:
        assert {rule.name for rule in RULES if rule.level is Level.ADVISORY} == {"waived"}


class TestStagingIsHalf:
    """Half of production, rounded up; in staging only."""

    @pytest.mark.parametrize(
        ("replicas", "production", "right"),
        [(2, 4, True), (3, 5, True), (2, 5, False), (1, 1, True), (4, 4, False), (1, 4, False)],
    )
    def test_rounds_up(self, replicas: int, production: int, right: bool) -> None:
        resources = changed("staging", "Deployment", {"spec.replicas": replicas})
        names = [name for name, _ in told(resources, production)]
        assert names == ([] if right else ["staging-is-half"])

    def test_says_so_when_production_is_not_known(self) -> None:
        [(name, text)] = told(program("staging"), None)
        assert name == "staging-is-half"
        assert "aegis:productionReplicas" in text

    def test_leaves_the_other_stacks_alone(self) -> None:
        assert told(changed("development", "Deployment", {"spec.replicas": 3})) == []
        assert told(program("production"), REPLICAS + 1) == []


class TestBesideAnAutoscaler:
    """What a Deployment says itself is only what it began with."""

    @pytest.mark.parametrize(("least", "right"), [(2, True), (3, False), (GONE, False)])
    def test_its_least_number_is_half_of_production_s(self, least: object, right: bool) -> None:
        resources = program("staging", autoscale="8")
        for item in resources:
            if item.kind == "HorizontalPodAutoscaler":
                spec = item.inputs["spec"]
                spec.pop("minReplicas") if least is GONE else spec.update(minReplicas=least)
            if item.kind == "Deployment":
                item.inputs["spec"]["replicas"] = 1  # of a time when production was smaller
        names = [name for name, _ in told(resources)]
        assert names == ([] if right else ["staging-is-half"])

    @pytest.mark.parametrize("stack", ["development", "staging", "production"])
    def test_the_program_keeps_to_all_rules(self, stack: str) -> None:
        assert told(program(stack, autoscale="8")) == []

    @pytest.mark.parametrize(
        "aim", [{"name": "other"}, {"kind": "StatefulSet"}], ids=["name", "kind"]
    )
    def test_one_that_aims_elsewhere_says_nothing_of_it(self, aim: dict[str, str]) -> None:
        resources = program("staging", autoscale="8")
        for item in resources:
            if item.kind == "HorizontalPodAutoscaler":
                item.inputs["spec"]["minReplicas"] = 9
                item.inputs["spec"]["scaleTargetRef"].update(aim)
        assert told(resources) == []


class TestDataProfile:
    """The pairs are the program's."""

    def test_are_the_same_as_the_programs(self) -> None:
        assert dict(DATA_PROFILES) == data_profile.PERMITTED

    def test_keeps_real_data_in_production(self) -> None:
        resources = changed("staging", "ConfigMap", {"data.AEGIS_DATA_PROFILE": "real"})
        [(name, text)] = told(resources)
        assert name == "data-profile"
        assert "pulumi config set --stack staging aegis:dataProfile sample" in text


class TestDisruptionBudget:
    """One budget for each service."""

    def test_refuses_a_second_one(self) -> None:
        resources = program("production")
        [budget] = [item for item in resources if item.kind == "PodDisruptionBudget"]
        second = Resource(f"{budget.urn}-2", budget.type, budget.inputs)
        assert any("several" in text for _, text in told([*resources, second]))

    def test_lets_a_single_replica_go(self) -> None:
        assert told(program("development")) == []


class TestAWaiver:
    """An annotation with a reason, on the object."""

    def test_excuses_one_object_from_one_rule_and_is_told(self) -> None:
        reason = "the batch job of ticket 7 cannot run twice"
        [(name, text)] = told(self._recreating({"policy.aegis/rolling-update": reason}))
        assert name == "waived"
        assert text == f"rolling-update does not hold for it: {reason}"

    def test_excuses_from_no_other_rule(self) -> None:
        annotations = {"policy.aegis/probes": "its probes are somebody else's"}
        names = [name for name, _ in told(self._recreating(annotations))]
        assert names == ["rolling-update", "waived"]

    @pytest.mark.parametrize("reason", ["", "   ", "because"])
    def test_without_a_reason_excuses_nothing(self, reason: str) -> None:
        [(name, text)] = told(self._recreating({"policy.aegis/rolling-update": reason}))
        assert name == "rolling-update"
        assert "gives no reason" in text

    @staticmethod
    def _recreating(annotations: dict[str, str]) -> list[Resource]:
        changes = {"spec.strategy.type": "Recreate", "metadata.annotations": annotations}
        return changed("production", "Deployment", changes)


class TestWhatIsNotKnownYet:
    """A preview cannot know everything; the update will, and is judged again."""

    @pytest.mark.parametrize(
        "kind", ["Deployment", "ConfigMap", "PodDisruptionBudget", "Namespace"]
    )
    @pytest.mark.parametrize("field", ["metadata", "spec", "data"])
    def test_is_no_violation_and_no_error(self, kind: str, field: str) -> None:
        resources = changed("production", kind, {field: UNKNOWN})
        about = {"disruption-budget", "grace-period"}  # others may miss what is unknown
        assert {name for name, _ in told(resources)} <= about


def test_the_kinds_without_a_namespace_are_those_of_the_package() -> None:
    assert namespace_of_stack.NOWHERE | {"Namespace"} == CLUSTER_SCOPED
