"""components.namespace: nothing runs in a stack's namespace by accident."""

from __future__ import annotations

from components.quantities import Cpu, Memory
from tests.rendering import Rendering, render
from tests.unit.components.conftest import STACKS

NODE_CPU, NODE_MEMORY = Cpu.parse("2"), Memory.parse("4Gi")
COREDNS_CPU, COREDNS_MEMORY = Cpu.parse("100m"), Memory.parse("170Mi")


class TestNamespaces:
    """A stack has one namespace, and everything of the stack is in it."""

    def test_is_named_after_the_stack(self, stack: str, rendering: Rendering) -> None:
        assert rendering.one("core/v1:Namespace").manifest["metadata"]["name"] == f"aegis-{stack}"
        assert rendering.outputs["namespace"] == f"aegis-{stack}"

    def test_everything_is_in_it(self, stack: str) -> None:
        rendering = render(stack, token="t" * 16, host="aegis.example.com")
        inside = [item for item in rendering.manifests() if item["kind"] != "Namespace"]
        assert {item["metadata"]["namespace"] for item in inside} == {f"aegis-{stack}"}
        assert len(inside) == 12

    def test_everything_is_made_after_it_and_deleted_before_it(self, stack: str) -> None:
        rendering = render(stack, token="t" * 16, host="aegis.example.com")
        namespace = rendering.one("core/v1:Namespace")
        for item in rendering.resources:
            if item.is_manifest and item is not namespace:
                assert namespace.urn in item.dependencies, item.name

    def test_no_two_objects_share_a_name(self, rendering: Rendering) -> None:
        names = [(item["kind"], item["metadata"]["name"]) for item in rendering.manifests()]
        assert len(names) == len(set(names))


class TestPodSecurity:
    """Pods that want more than ``restricted`` allows are refused, noted and warned of."""

    def test_is_restricted_in_every_mode(self, rendering: Rendering) -> None:
        labels = rendering.one("core/v1:Namespace").manifest["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
            assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "latest"


class TestQuota:
    """The namespace has room for a rollout, and not for much more."""

    def test_has_room_for_the_surge_and_the_pods_that_drain(self, rendering: Rendering) -> None:
        hard = rendering.one("ResourceQuota").manifest["spec"]["hard"]
        spec = rendering.one("Deployment").manifest["spec"]
        pods = 2 * spec["replicas"] + spec["strategy"]["rollingUpdate"]["maxSurge"]
        assert int(hard["pods"]) >= pods
        resources = spec["template"]["spec"]["containers"][0]["resources"]
        for kind in ("requests", "limits"):
            assert Cpu.parse(hard[f"{kind}.cpu"]) >= Cpu.parse(resources[kind]["cpu"]).times(pods)
            memory = Memory.parse(resources[kind]["memory"]).times(pods)
            assert Memory.parse(hard[f"{kind}.memory"]) >= memory

    def test_all_the_stacks_fit_on_one_small_node_in_mid_rollout(self) -> None:
        cpu, memory = COREDNS_CPU.millicores, COREDNS_MEMORY.mebibytes
        for stack in STACKS:
            hard = render(stack).one("ResourceQuota").manifest["spec"]["hard"]
            cpu += Cpu.parse(hard["requests.cpu"]).millicores
            memory += Memory.parse(hard["requests.memory"]).mebibytes
        assert cpu <= NODE_CPU.millicores
        assert memory <= NODE_MEMORY.mebibytes

    def test_a_pod_that_says_nothing_gets_what_the_services_get(self, rendering: Rendering) -> None:
        (item,) = rendering.one("LimitRange").manifest["spec"]["limits"]
        spec = rendering.one("Deployment").manifest["spec"]["template"]["spec"]
        resources = spec["containers"][0]["resources"]
        assert item["type"] == "Container"
        assert item["default"] == item["max"] == resources["limits"]
        assert item["defaultRequest"] == resources["requests"]


class TestNetwork:
    """No pod is reached and none reaches out, but for DNS and the service's port."""

    def test_everything_is_closed_by_default(self, rendering: Rendering) -> None:
        spec = rendering.one("NetworkPolicy", "default-deny").manifest["spec"]
        assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def test_every_pod_may_ask_the_clusters_dns(self, rendering: Rendering) -> None:
        spec = rendering.one("NetworkPolicy", "allow-dns").manifest["spec"]
        (rule,) = spec["egress"]
        assert spec["podSelector"] == {}
        assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {
            ("UDP", 53),
            ("TCP", 53),
        }
        assert all(peer for peer in rule["to"])

    def test_the_service_may_be_reached_on_its_port_alone(self, rendering: Rendering) -> None:
        spec = rendering.one("NetworkPolicy", "aegis-api").manifest["spec"]
        deployment = rendering.one("Deployment").manifest["spec"]
        assert spec["podSelector"] == deployment["selector"]
        assert spec["policyTypes"] == ["Ingress"]
        assert spec["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8000}]}]

    def test_no_pod_starts_before_the_namespace_is_guarded(self, rendering: Rendering) -> None:
        guards = [
            item
            for item in rendering.resources
            if item.parent == rendering.one("aegis:namespace:Namespace").urn
        ]
        assert len(guards) == 5
        assert {item.urn for item in guards} <= rendering.one("Deployment").dependencies
