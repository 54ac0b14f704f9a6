"""What goes, or comes back, before the rest of a rollback."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.flows.change_lines import in_order
from aegis_deploy.model.events import Changes, Step
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.planning import plan
from tests.unit.aegis_deploy.states import CONFIG_KIND, made, state, thing, urn

ADMISSION = "kubernetes:admissionregistration.k8s.io/v1"
WEBHOOK = f"{ADMISSION}:ValidatingWebhookConfiguration"
QUOTA = "kubernetes:core/v1:ResourceQuota"
CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def goes(planned: Replay) -> list[list[str]]:
    """What goes first, by name."""
    return [[it.name for it in several] for several in planned.first.goes]


@pytest.mark.parametrize(
    "kind",
    [
        WEBHOOK,
        f"{ADMISSION}:MutatingWebhookConfiguration",
        f"{ADMISSION}:ValidatingAdmissionPolicy",
        f"{ADMISSION}:ValidatingAdmissionPolicyBinding",
        f"{ADMISSION}alpha1:MutatingAdmissionPolicy",
        f"{ADMISSION}alpha1:MutatingAdmissionPolicyBinding",
        f"{ADMISSION}:ValidatingWebhookConfigurationPatch",
        f"{ADMISSION}:ValidatingWebhookConfigurationList",
        "kubernetes:apiregistration.k8s.io/v1:APIService",
        "kubernetes:constraints.gatekeeper.sh/v1beta1:K8sRequiredLabels",
        "kubernetes:kyverno.io/v1:ClusterPolicy",
        QUOTA,
        "kubernetes:core/v1:LimitRange",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy",
        "kubernetes:policy/v1:PodDisruptionBudget",
        "kubernetes:scheduling.k8s.io/v1:PriorityClass",
        "kubernetes:cilium.io/v2:CiliumNetworkPolicy",
    ],
)
def test_what_can_block_the_rest_goes_before_it(kind: str) -> None:
    items: dict[str, Any] = {"items": [{"spec": {}}]} if kind.endswith("List") else {}
    planned = plan(made(), made(thing(kind, "guard", items), thing(CONFIG_KIND, "web")))
    assert goes(planned) == [["guard"]]


def test_a_helm_release_with_something_of_that_kind_goes_as_a_whole() -> None:
    names = {"ValidatingWebhookConfiguration.admissionregistration.k8s.io/v1": ["guard"]}
    kind = "kubernetes:helm.sh/v3:Release"
    assert goes(plan(made(), made(thing(kind, "guard", {"resourceNames": names})))) == [["guard"]]
    names["PersistentVolumeClaim/v1"] = ["shop/data"]
    planned = plan(made(), made(thing(kind, "guard", {"resourceNames": names})))
    assert goes(planned) == []
    assert len(planned.stays) == 1


def test_what_requests_go_through_goes_before_what_limits() -> None:
    now = made(thing(QUOTA, "quota"), thing(WEBHOOK, "guard"), thing(QUOTA, "more"))
    assert goes(plan(made(), now)) == [["guard"], ["quota", "more"]]


@pytest.mark.parametrize("option", ["protect", "retainOnDelete"])
def test_what_a_deletion_would_not_take_away_does_not_go_first(option: str) -> None:
    guard = {**thing(WEBHOOK, "guard"), option: True}
    assert goes(plan(made(), made(guard))) == []


def test_an_api_goes_first_only_when_nothing_is_left_that_it_serves() -> None:
    api = thing(
        "kubernetes:apiregistration.k8s.io/v1:APIService",
        "v1.shop.example.com",
        {"spec": {"group": "shop.example.com", "version": "v1"}},
    )
    till = thing("kubernetes:shop.example.com/v1:Till", "till")
    other = thing("kubernetes:shop.example.com/v1beta1:Till", "other")
    assert goes(plan(made(), made(api, other))) == [["v1.shop.example.com"]]
    assert goes(plan(made(), made(api, till))) == []


def test_nothing_goes_first_that_something_of_the_release_is_below() -> None:
    guard = thing(WEBHOOK, "guard")
    below = thing(CONFIG_KIND, "below", parent=guard["urn"])
    assert goes(plan(made(), made(guard, below))) == [["guard", "below"]]
    assert goes(plan(made(below), made(guard, below))) == []


def test_one_of_another_name_goes_first_and_the_release_makes_its_own() -> None:
    named = {"metadata": {"name": "guard-2", "namespace": "shop"}}
    planned = plan(made(thing(WEBHOOK, "guard")), made(thing(WEBHOOK, "guard", named)))
    assert goes(planned) == [["guard"]]
    assert planned.first.leads == ()


def test_one_that_waits_for_the_old_one_to_be_deleted_goes_with_it() -> None:
    old = thing(WEBHOOK, "guard")
    new = thing(WEBHOOK, "guard", {"metadata": {"name": "guard-2", "namespace": "shop"}})
    planned = plan(made(old), made(new, {**old, "delete": True}))
    assert goes(planned) == [["guard"]]
    assert planned.revivals == ()


def test_nothing_depends_any_more_on_what_goes_first() -> None:
    guard = thing(WEBHOOK, "guard")
    web = thing(DEPLOYMENT, "web", dependencies=[guard["urn"]], deletedWith=guard["urn"])
    planned = plan(made(thing(DEPLOYMENT, "web")), made(guard, web))
    prepared = planned.prepare({"deployment": state(guard, web)})["deployment"]["resources"][-1]
    assert prepared["dependencies"] == []
    assert "deletedWith" not in prepared


class TestChanged:
    """What both releases have, in different words, is registered before the rest."""

    def test_but_not_before_what_it_needs(self) -> None:
        key, other = thing(CONFIG_KIND, "key"), thing(CONFIG_KIND, "other")
        old = thing(WEBHOOK, "guard", {"webhooks": []}, dependencies=[key["urn"]])
        new = thing(WEBHOOK, "guard", {"webhooks": [{"failurePolicy": "Fail"}]})
        planned = plan(made(key, old, other), made(key, new, other))
        assert goes(planned) == []
        assert planned.first.leads == (old["urn"],)
        assert planned.first.ahead == {old["urn"], key["urn"]}

    def test_one_that_is_the_same_or_is_to_be_made_leads_nothing(self) -> None:
        guard = thing(WEBHOOK, "guard")
        assert plan(made(guard), made(guard)).first.leads == ()
        assert plan(made(guard), made()).first.leads == ()


class TestOrder:
    """What a person is shown."""

    GUARD: Any = thing(WEBHOOK, "guard")
    CLAIM: Any = thing(CLAIM, "data", dependencies=[urn(CONFIG_KIND, "settings")])
    SETTINGS: Any = thing(CONFIG_KIND, "settings")
    WEB: Any = thing(DEPLOYMENT, "web", {"spec": 1})
    OLD: Any = thing(DEPLOYMENT, "web", {"spec": 2})

    def step(self, op: str, resource: Any) -> Step:
        """A step of a preview."""
        name = resource["urn"].rpartition("::")[2]
        return Step(op, resource["urn"], resource["type"], name)

    def test_is_that_of_the_rollback(self) -> None:
        planned = plan(made(self.OLD), made(self.GUARD, self.SETTINGS, self.CLAIM, self.WEB))
        changes = Changes((self.step("update", self.WEB), self.step("delete", self.GUARD)))
        assert in_order(planned, changes) == (
            "  delete ValidatingWebhookConfiguration guard (first)",
            "  update Deployment web",
            "  delete ConfigMap settings",
        )

    def test_is_what_the_records_say_where_the_cluster_cannot_be_asked(self) -> None:
        added = thing(CONFIG_KIND, "added")
        planned = plan(made(self.OLD, added), made(self.GUARD, self.SETTINGS, self.WEB))
        assert in_order(planned, None) == (
            "  delete ValidatingWebhookConfiguration guard (first)",
            "  update Deployment web",
            "  create ConfigMap added",
            "  delete ConfigMap settings",
        )

    def test_has_what_leads_at_its_head(self) -> None:
        old, new = (thing(QUOTA, "quota", {"spec": it}) for it in (1, 2))
        planned = plan(made(self.OLD, old), made(self.WEB, new))
        steps = (self.step("update", self.WEB), self.step("update", new))
        assert in_order(planned, Changes(steps)) == (
            "  update ResourceQuota quota",
            "  update Deployment web",
        )

    def test_has_nothing_that_is_gone_already(self) -> None:
        planned = plan(made(self.WEB), made(self.WEB, self.SETTINGS))
        assert in_order(planned, Changes()) == ("  nothing changes",)

    def test_says_that_nothing_changes(self) -> None:
        assert in_order(plan(made(self.WEB), made(self.WEB)), Changes()) == ("  nothing changes",)
