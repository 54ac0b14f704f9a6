"""components.api_service, components.api_pod: the service is replaced with no request lost."""

from __future__ import annotations

from typing import Any

import pytest

from components.timings import Timings
from tests.rendering import TOKEN, Rendering, render


@pytest.fixture
def deployment(rendering: Rendering) -> dict[str, Any]:
    """Each stack's Deployment's spec."""
    spec: dict[str, Any] = rendering.one("Deployment").manifest["spec"]
    return spec


@pytest.fixture
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    """Each stack's pod's spec."""
    spec: dict[str, Any] = deployment["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    """Each stack's only container."""
    (only,) = pod["containers"]
    spec: dict[str, Any] = only
    return spec


class TestRollingUpdate:
    """New pods come before old ones go, in every stack."""

    def test_no_pod_goes_before_its_successor_is_ready(self, deployment: dict[str, Any]) -> None:
        strategy = deployment["strategy"]
        assert strategy["type"] == "RollingUpdate"
        assert strategy["rollingUpdate"]["maxUnavailable"] == 0
        assert strategy["rollingUpdate"]["maxSurge"] >= 1

    def test_a_new_pod_must_stay_ready_for_a_while(self, deployment: dict[str, Any]) -> None:
        assert deployment["minReadySeconds"] >= 1

    def test_a_rollout_that_gets_nowhere_is_called_failed(self, deployment: dict[str, Any]) -> None:
        assert deployment["progressDeadlineSeconds"] > deployment["minReadySeconds"]

    def test_pulumi_gives_up_soon_after(self, rendering: Rendering) -> None:
        registered = rendering.one("Deployment")
        deadline = registered.manifest["spec"]["progressDeadlineSeconds"]
        for timeout in (registered.create_timeout, registered.update_timeout):
            assert timeout.endswith("s")
            assert deadline < int(timeout[:-1]) <= 2 * deadline

    def test_few_old_replica_sets_are_kept(self, deployment: dict[str, Any]) -> None:
        assert deployment["revisionHistoryLimit"] == 2

    def test_the_selector_finds_the_pods_and_names_no_release(
        self, deployment: dict[str, Any]
    ) -> None:
        selector = deployment["selector"]["matchLabels"]
        assert selector == {"app.kubernetes.io/name": "aegis-api"}
        assert selector.items() <= deployment["template"]["metadata"]["labels"].items()

    def test_pods_of_one_release_are_spread_by_themselves(
        self, deployment: dict[str, Any], pod: dict[str, Any]
    ) -> None:
        constraints = pod["topologySpreadConstraints"]
        assert {item["topologyKey"] for item in constraints} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
        for item in constraints:
            assert item["matchLabelKeys"] == ["pod-template-hash"]
            assert item["whenUnsatisfiable"] == "ScheduleAnyway"
            assert item["labelSelector"] == deployment["selector"]


class TestTheEndOfAPod:
    """A pod that goes finishes what it has begun."""

    def test_it_serves_while_every_proxy_learns_of_it(self, container: dict[str, Any]) -> None:
        assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}

    def test_it_is_not_killed_while_it_drains(
        self, rendering: Rendering, pod: dict[str, Any], container: dict[str, Any]
    ) -> None:
        sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = int(rendering.one("ConfigMap").manifest["data"]["AEGIS_DRAIN_SECONDS"])
        assert pod["terminationGracePeriodSeconds"] > sleep + drain

    def test_longer_timings_make_the_grace_period_longer(self) -> None:
        rendering = render("staging", preStopSeconds="30", drainSeconds="300")
        pod = rendering.one("Deployment").manifest["spec"]["template"]["spec"]
        timings = Timings(pre_stop=30, drain=300, min_ready=3, progress_deadline=120)
        assert pod["terminationGracePeriodSeconds"] == timings.grace_period > 330


class TestProbes:
    """Three questions, three answers."""

    def test_starting_and_living_are_one_path_and_ready_another(
        self, container: dict[str, Any]
    ) -> None:
        paths = {
            name: container[f"{name}Probe"]["httpGet"]["path"]
            for name in ("startup", "readiness", "liveness")
        }
        assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}

    def test_no_two_are_alike(self, container: dict[str, Any]) -> None:
        startup, readiness, liveness = (
            container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")
        )
        assert startup != liveness
        assert readiness != liveness

    def test_a_restart_takes_more_than_leaving_the_service(self, container: dict[str, Any]) -> None:
        def patience(name: str) -> int:
            probe = container[f"{name}Probe"]
            return int(probe["periodSeconds"] * probe["failureThreshold"])

        assert patience("liveness") >= 5 * patience("readiness")
        assert patience("startup") >= 30

    def test_they_ask_the_port_by_its_name(self, container: dict[str, Any]) -> None:
        assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
        for name in ("startup", "readiness", "liveness"):
            assert container[f"{name}Probe"]["httpGet"]["port"] == "http"


class TestSecurityContext:
    """A pod meets Pod Security ``restricted``, and a bit more."""

    def test_it_runs_as_nobody_in_particular(self, pod: dict[str, Any]) -> None:
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def test_its_container_can_gain_nothing_and_write_nothing(
        self, container: dict[str, Any]
    ) -> None:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }

    def test_it_has_no_token_of_the_cluster(
        self, rendering: Rendering, pod: dict[str, Any]
    ) -> None:
        assert pod["automountServiceAccountToken"] is False
        account = rendering.one("ServiceAccount")
        assert account.manifest["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == account.manifest["metadata"]["name"] != "default"

    def test_it_is_not_told_of_its_neighbours(self, pod: dict[str, Any]) -> None:
        assert pod["enableServiceLinks"] is False

    def test_it_shares_nothing_with_the_node(self, pod: dict[str, Any]) -> None:
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()


class TestDisruptionBudget:
    """A node can be drained, a pod at a time."""

    @pytest.mark.parametrize(
        ("stack", "replicas", "allowed"),
        [("development", 4, 1), ("staging", 4, 1), ("production", 4, 1), ("production", 12, 3)],
    )
    def test_follows_the_size(self, stack: str, replicas: int, allowed: int) -> None:
        rendering = render(stack, productionReplicas=str(replicas))
        assert rendering.one("PodDisruptionBudget").manifest["spec"]["maxUnavailable"] == allowed

    def test_pods_that_never_were_ready_hold_no_node(
        self, rendering: Rendering, deployment: dict[str, Any]
    ) -> None:
        spec = rendering.one("PodDisruptionBudget").manifest["spec"]
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert spec["selector"] == deployment["selector"]


class TestService:
    """One address, inside the cluster."""

    def test_leads_to_the_pods_port_by_its_name(
        self, rendering: Rendering, deployment: dict[str, Any]
    ) -> None:
        service = rendering.one("core/v1:Service").manifest
        assert service["spec"] == {
            "type": "ClusterIP",
            "selector": deployment["selector"]["matchLabels"],
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        }

    def test_is_not_waited_for(self, rendering: Rendering) -> None:
        annotations = rendering.one("core/v1:Service").manifest["metadata"]["annotations"]
        assert annotations == {"pulumi.com/skipAwait": "true"}

    def test_its_url_is_exported(self, stack: str, rendering: Rendering) -> None:
        url = f"http://aegis-api.aegis-{stack}.svc.cluster.local"
        assert rendering.outputs["serviceUrl"] == url


class TestSecretIsOptional:
    """A service that has no secret asks for none."""

    def test_pods_name_a_secret_only_when_there_is_one(self) -> None:
        def sources(rendering: Rendering) -> int:
            template = rendering.one("Deployment").manifest["spec"]["template"]
            return len(template["spec"]["containers"][0]["envFrom"])

        assert sources(render("staging")) == 1
        assert sources(render("staging", token=TOKEN)) == 2


def test_pods_leave_a_node_that_is_gone_before_a_rollout_is_called_failed(
    deployment: dict[str, Any], pod: dict[str, Any]
) -> None:
    away = {it["key"]: it for it in pod["tolerations"]}
    assert set(away) == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    for it in away.values():
        assert (it["operator"], it["effect"]) == ("Exists", "NoExecute")
        # Kubernetes gives a node up after at most 50 s, and only then the toleration counts.
        assert 50 + it["tolerationSeconds"] < deployment["progressDeadlineSeconds"]


class TestAutoscaler:
    """Beside an autoscaler the number of pods is its, from the first one on."""

    def test_there_is_none_unless_it_is_asked_for(self, rendering: Rendering) -> None:
        assert rendering.of_type("HorizontalPodAutoscaler") == []
        assert rendering.one("Deployment").ignored == ()

    @pytest.mark.parametrize(("stack", "least", "most"), [("staging", 2, 6), ("production", 4, 12)])
    def test_it_keeps_between_the_stack_s_size_and_its_share(
        self, stack: str, least: int, most: int
    ) -> None:
        scaled = render(stack, autoscale="12", autoscaleCpuPercent="55")
        autoscaler = scaled.one("HorizontalPodAutoscaler", "aegis-api").manifest["spec"]
        assert autoscaler["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": scaled.one("Deployment").manifest["metadata"]["name"],
        }
        assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (least, most)
        (metric,) = autoscaler["metrics"]
        assert metric["resource"] == {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 55},
        }

    def test_the_number_is_given_once_and_then_left_to_it(self) -> None:
        scaled = render("production", autoscale="12")
        deployment = scaled.one("Deployment")
        # Without a number the first rollout would be one of a single pod.
        assert deployment.manifest["spec"]["replicas"] == 4
        assert deployment.ignored == ("spec.replicas",)
        assert scaled.one("HorizontalPodAutoscaler").urn in deployment.dependencies

    def test_surge_and_disruptions_are_shares_of_whatever_number_it_is(self) -> None:
        scaled = render("staging", autoscale="12")
        strategy = scaled.one("Deployment").manifest["spec"]["strategy"]["rollingUpdate"]
        assert strategy == {"maxUnavailable": 0, "maxSurge": "25%"}
        assert scaled.one("PodDisruptionBudget").manifest["spec"]["maxUnavailable"] == "25%"
        # All old and all new ones of the most there are, a quarter above, and one to spare.
        assert scaled.one("ResourceQuota").manifest["spec"]["hard"]["pods"] == "15"

    def test_a_canary_is_still_one_pod_at_a_time(self) -> None:
        scaled = render("production", autoscale="12", gate='{"canary": 5}')
        strategy = scaled.one("Deployment").manifest["spec"]["strategy"]["rollingUpdate"]
        assert strategy["maxSurge"] == 1

    def test_a_minimal_stack_stays_at_one(self) -> None:
        minimal = render("development", autoscale="12")
        assert minimal.of_type("HorizontalPodAutoscaler") == []
        assert minimal.one("Deployment").ignored == ()
