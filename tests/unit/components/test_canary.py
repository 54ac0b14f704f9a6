"""components.canary: new pods that get a share of the requests before the rest does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rendering import Rendering, render
from tests.unit.policy.stacks import program, told

GATE = json.dumps({"bakeSeconds": 5, "canary": "10%"})
ROUTED = {"host": "aegis.example.com", "gateway": "gateways/public"}
CANARY = "aegis-api-canary"


@pytest.fixture(params=["development", "staging", "production"])
def rendering(request: pytest.FixtureRequest) -> Rendering:
    return render(str(request.param), gate=GATE, **ROUTED)


def spec(rendering: Rendering, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = rendering.one(kind, name).manifest["spec"]
    return found


class TestItsShare:
    """The route gives it the share; its Service leads to its pods alone."""

    @pytest.mark.parametrize(
        ("share", "weights"),
        [("10%", [9000, 1000]), ("0.01%", [9999, 1]), ("50%", [5000, 5000])],
    )
    def test_is_its_weight_at_the_route(self, share: str, weights: list[int]) -> None:
        gate = json.dumps({"canary": share})
        (rule,) = spec(render("staging", gate=gate, **ROUTED), "HTTPRoute", "aegis-api")["rules"]
        assert [it["name"] for it in rule["backendRefs"]] == ["aegis-api", CANARY]
        assert [it["weight"] for it in rule["backendRefs"]] == weights
        assert len({it["port"] for it in rule["backendRefs"]}) == 1

    def test_each_service_leads_to_its_own_pods(self, rendering: Rendering) -> None:
        for name in ("aegis-api", CANARY):
            selector = spec(rendering, "core/v1:Service", name)["selector"]
            deployment = spec(rendering, "Deployment", name)
            assert selector == {"app.kubernetes.io/name": name}
            assert deployment["selector"]["matchLabels"] == selector
            labels = deployment["template"]["metadata"]["labels"]
            assert selector.items() <= labels.items()

    @pytest.mark.parametrize(
        ("share", "replicas", "pods"), [("10%", 4, 1), ("10%", 20, 2), ("25%", 9, 3), ("50%", 1, 1)]
    )
    def test_no_pod_of_it_gets_more_than_another(
        self, share: str, replicas: int, pods: int
    ) -> None:
        gate = json.dumps({"canary": share})
        rendering = render("production", gate=gate, productionReplicas=str(replicas), **ROUTED)
        assert spec(rendering, "Deployment", CANARY)["replicas"] == pods
        assert spec(rendering, "Deployment", "aegis-api")["replicas"] == replicas
        assert float(share.rstrip("%")) / 100 / pods <= 1 / replicas

    def test_counts_the_most_that_an_autoscaler_makes(self) -> None:
        rendering = render("production", gate=GATE, autoscale="40", **ROUTED)
        assert spec(rendering, "Deployment", CANARY)["replicas"] == 4
        (scaler,) = rendering.of_type("HorizontalPodAutoscaler")
        assert scaler.manifest["spec"]["scaleTargetRef"]["name"] == "aegis-api"


class TestItsPods:
    """They are the release's, as all others are, and guarded as these are."""

    def test_are_those_of_the_release(self, rendering: Rendering) -> None:
        mine, others = (
            spec(rendering, "Deployment", name)["template"]["spec"]
            for name in (CANARY, "aegis-api")
        )
        (own,), (other,) = mine.pop("containers"), others.pop("containers")
        assert {**own, "name": ""} == {**other, "name": ""}
        spread = [it.pop("topologySpreadConstraints") for it in (mine, others)]
        assert mine == others
        assert spread[0][0]["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": CANARY}

    def test_may_be_reached_and_may_reach_what_others_may(self) -> None:
        rendering = render(
            "staging", gate=GATE, postgres=json.dumps({"image": f"a@sha256:{'0' * 64}"}), **ROUTED
        )
        both = [
            {
                "key": "app.kubernetes.io/name",
                "operator": "In",
                "values": ["aegis-api", CANARY],
            }
        ]
        for name in ("aegis-api", "aegis-api-database"):
            policy = spec(rendering, "NetworkPolicy", name)
            assert policy["podSelector"] == {"matchExpressions": both}
        (rule,) = spec(rendering, "NetworkPolicy", "aegis-postgres")["ingress"]
        clients = [
            it["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for it in rule["from"]
        ]
        assert CANARY in clients

    def test_are_guarded(self, rendering: Rendering) -> None:
        budget = spec(rendering, "PodDisruptionBudget", CANARY)
        assert budget["selector"]["matchLabels"] == {"app.kubernetes.io/name": CANARY}
        assert budget["maxUnavailable"] == 1

    def test_have_room(self) -> None:
        def pods(**more: str) -> int:
            hard = render("production", **ROUTED, **more).one("ResourceQuota").manifest["spec"]
            return int(hard["hard"]["pods"])

        # Two of each, the old one draining, and one more while it is replaced.
        assert pods(gate=GATE) == pods() + 3

    @pytest.mark.parametrize("stack", ["development", "staging", "production"])
    def test_break_no_policy(self, stack: str) -> None:
        made = program(stack, gate=GATE, gateway="gateways/public")
        assert [it for it in told(made) if it[0] != "waived"] == []


class TestTheOrder:
    """What passes there goes on to the rest, and nothing else does."""

    def test_the_rest_waits_for_its_gate(self, rendering: Rendering) -> None:
        rest = rendering.one("Deployment", "aegis-api")
        (passed,) = [
            it for it in rendering.of_type("pulumi:index:Stash") if it.name == f"{CANARY}-gate"
        ]
        assert passed.urn in rest.dependencies
        assert rendering.one("Deployment", CANARY).urn in passed.dependencies

    def test_no_request_goes_there_before_a_pod_is_ready(self, rendering: Rendering) -> None:
        (passed,) = [
            it for it in rendering.of_type("pulumi:index:Stash") if it.name == f"{CANARY}-gate"
        ]
        assert passed.urn in rendering.one("HTTPRoute").dependencies
        annotations = rendering.one("Deployment", CANARY).manifest["metadata"]["annotations"]
        assert annotations["pulumi.com/waitFor"] == "jsonpath={.status.readyReplicas}"

    def test_its_pods_wait_for_their_guards(self, rendering: Rendering) -> None:
        guard = rendering.one("ResourceQuota").urn
        assert guard in rendering.one("Deployment", CANARY).dependencies

    def test_its_pods_wait_for_the_migration(self) -> None:
        postgres = json.dumps({"image": f"a@sha256:{'0' * 64}"})
        rendering = render("staging", gate=GATE, postgres=postgres, **ROUTED)
        (migration,) = rendering.of_type("Job")
        assert migration.urn in rendering.one("Deployment", CANARY).dependencies

    def test_a_rollout_is_not_held_at_each_pod_besides(self) -> None:
        rendering = render("production", gate=GATE, productionReplicas="20", **ROUTED)
        rolling = spec(rendering, "Deployment", "aegis-api")["strategy"]["rollingUpdate"]
        assert rolling["maxSurge"] == 5


class TestWithoutAShare:
    """Nothing of it is there, and nothing else is another."""

    @pytest.mark.parametrize("gate", [None, '{"canary": 5}'])
    def test_there_is_none(self, gate: str | None) -> None:
        rendering = render("staging", gate=gate, **ROUTED)
        assert not [it for it in rendering.resources if "canary" in it.name]
        (rule,) = spec(rendering, "HTTPRoute", "aegis-api")["rules"]
        assert [it["weight"] for it in rule["backendRefs"]] == [1]
        policy = spec(rendering, "NetworkPolicy", "aegis-api")
        assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "aegis-api"}}
