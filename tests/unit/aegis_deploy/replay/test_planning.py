"""What a replay registers, leaves alone, deletes and refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import parse
from tests.unit.aegis_deploy.states import CONFIG_KIND, DEFAULT, made, secret, state, thing, urn
from tests.unit.aegis_deploy.two_clusters import EAST, WEST, standing

IMAGE = "docker:index/image:Image"
JOB = "kubernetes:batch/v1:Job"
CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
RELEASE = "kubernetes:helm.sh/v3:Release"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
LOSING = Choices(allow_data_loss=True)


def test_only_what_a_program_would_register_is_registered() -> None:
    component = {"urn": urn("shop:a:B", "b"), "type": "shop:a:B", "custom": False}
    cluster = {
        "urn": urn("pulumi:providers:kubernetes", "cluster"),
        "type": "pulumi:providers:kubernetes",
        "custom": True,
        "id": "2",
    }
    recorded = made(
        component,
        cluster,
        thing(CONFIG_KIND, "a"),
        thing(CONFIG_KIND, "gone", delete=True),
        thing(CONFIG_KIND, "half", pendingReplacement=True),
        thing(CONFIG_KIND, "view", viewOf=urn(CONFIG_KIND, "a")),
    )
    planned = plan(recorded, made())
    assert [item.name for item in planned.resources] == ["b", "cluster", "a"]
    assert list(planned.providers) == [DEFAULT]


def test_a_programs_provider_may_be_called_default() -> None:
    kind = "pulumi:providers:kubernetes"
    ours = thing(kind, "default", {"metadata": {"name": "x"}})
    assert [item.name for item in plan(made(ours), made()).resources] == ["default"]


def test_what_is_only_there_now_is_deleted_but_no_provider_is_named() -> None:
    planned = plan(made(), made(thing(CONFIG_KIND, "new"), thing(CONFIG_KIND, "x", delete=True)))
    assert [item.name for item in planned.deletes] == ["new"]


class TestImages:
    """What was built is neither built again nor forgotten."""

    WEB: Any = thing(DEPLOYMENT, "web", dependencies=[urn(IMAGE, "web")])
    OLD: Any = thing(
        IMAGE,
        "web",
        {"imageName": "shop:1", "login": secret("hidden")},
        outputs={"repoDigest": "shop@1"},
        dependencies=[urn(CONFIG_KIND, "gone")],
    )

    def test_the_state_gets_the_releases_own_record_in_the_place_of_the_present_one(self) -> None:
        new = thing(IMAGE, "web", {"imageName": "shop:2"}, outputs={"repoDigest": "shop@2"})
        planned = plan(made(self.OLD, self.WEB), made(new, self.WEB))
        assert planned.exclude == planned.preview_exclude == (urn(IMAGE, "web"),)
        assert planned.resources[1].dependencies == (urn(IMAGE, "web"),)
        before = {"deployment": state(new, self.WEB)}
        after = planned.prepare(before)["deployment"]["resources"]
        assert after[2] == {**new, "inputs": self.OLD["inputs"], "outputs": self.OLD["outputs"]}
        assert after[3] == self.WEB
        assert before == {"deployment": state(new, self.WEB)}
        assert "hidden" not in repr(planned)

    def test_a_record_that_is_right_already_is_left_alone(self) -> None:
        planned = plan(made(self.OLD, self.WEB), made(self.OLD))
        assert not planned.prepares
        assert planned.exclude == (urn(IMAGE, "web"),)

    def test_one_that_is_not_there_now_is_entered_with_all_that_it_needs(self) -> None:
        group = thing("aegis:image:Image", "group", custom=False)
        image = {**self.OLD, "parent": group["urn"]}
        planned = plan(made(group, image, self.WEB), made(self.WEB))
        after = planned.prepare({"deployment": state(self.WEB)})["deployment"]["resources"]
        assert [item["urn"] for item in after[3:]] == [group["urn"], image["urn"]]
        assert "dependencies" not in after[-1], "it depends on nothing that is not there"
        # Before it is entered, a preview cannot leave it alone.
        assert planned.exclude == (urn(IMAGE, "web"),)
        assert planned.preview_exclude == ()
        assert planned.absent == {urn(IMAGE, "web")}

    def test_one_whose_provider_is_gone_is_not_built_and_nothing_waits_for_it(self) -> None:
        depends = {"spec": [urn(IMAGE, "web")]}
        web = {**self.WEB, "propertyDependencies": depends}
        lost = {**self.OLD, "provider": "urn:pulumi:s::p::pulumi:providers:docker::mine::7"}
        planned = plan(made(lost, web), made())
        assert planned.exclude == ()
        (deployment,) = planned.resources
        assert deployment.dependencies == ()
        assert deployment.options["propertyDependencies"] == {"spec": []}

    def test_the_record_of_what_a_deletion_takes_from_the_registry_is_left_alone(self) -> None:
        kind = "docker:index/registryImage:RegistryImage"
        old, new = (thing(kind, "web", {"name": f"shop:{it}"}) for it in (1, 2))
        planned = plan(made(old), made(new))
        assert not planned.prepares
        assert planned.exclude == (urn(kind, "web"),)


class TestLeftBehind:
    """Objects that a failed update replaced and did not get to delete."""

    OLD: Any = thing(
        CONFIG_KIND, "settings", {"metadata": {"name": "settings-1", "namespace": "s"}}
    )
    NEW = thing(CONFIG_KIND, "settings", {"metadata": {"name": "settings-2", "namespace": "s"}})

    def test_its_own_object_is_taken_back(self) -> None:
        web = thing(DEPLOYMENT, "web", dependencies=[self.OLD["urn"]])
        now: Any = state(self.NEW, web, {**self.OLD, "delete": True})
        planned = plan(made(self.OLD, web), made(*now["resources"][2:]))
        (revival,) = planned.revivals
        assert (revival.id, revival.instead_of) == ("s/settings-1", "s/settings-2")
        assert planned.preview_exclude == (self.OLD["urn"],)
        exported: Any = {"version": 3, "deployment": now}
        revived = planned.prepare(exported)["deployment"]["resources"][2:]
        # In the place of its replacement: everything still comes after what it depends on.
        assert revived == [self.OLD, web, {**self.NEW, "delete": True}]
        assert exported["deployment"]["resources"][2] == self.NEW, "the given state is not changed"

    def test_what_was_deleted_for_a_replacement_that_was_never_made_is_no_longer_marked(
        self,
    ) -> None:
        # With the mark the engine makes the object anew and then deletes it, by its name.
        marked = {**self.OLD, "pendingReplacement": True}
        planned = plan(made(self.OLD), made(marked))
        assert planned.prepares
        exported: Any = {"version": 3, "deployment": state(marked)}
        assert planned.prepare(exported)["deployment"]["resources"][2:] == [self.OLD]
        assert exported["deployment"]["resources"][2] == marked, "the given state is not changed"

    def test_its_own_object_is_taken_back_when_nothing_replaced_it(self) -> None:
        now: Any = state({**self.OLD, "delete": True})
        planned = plan(made(self.OLD), made(*now["resources"][2:]))
        assert planned.prepare({"deployment": now})["deployment"]["resources"][2:] == [self.OLD]

    def test_another_objects_record_is_left_alone(self) -> None:
        other = thing(CONFIG_KIND, "settings", {"metadata": {"name": "other", "namespace": "s"}})
        assert plan(made(self.OLD), made(self.NEW, {**other, "delete": True})).revivals == ()

    def test_one_of_a_provider_that_is_gone_is_left_alone(self) -> None:
        left = {**self.OLD, "delete": True, "provider": f"{DEFAULT}::of before"}
        assert plan(made(self.OLD), made(self.NEW, left)).revivals == ()

    def test_a_job_that_is_taken_back_does_not_run_again(self) -> None:
        old = thing(JOB, "migrate", {"metadata": {"name": "migrate-1"}, "spec": {"template": 1}})
        new = thing(JOB, "migrate", {"metadata": {"name": "migrate-2"}, "spec": {"template": 2}})
        assert plan(made(old), made(new, {**old, "delete": True})).reruns == ()


class TestRenamed:
    """Resources that the program calls something else since."""

    OLD = thing(CONFIG_KIND, "flags", {"metadata": {"name": "x", "namespace": "shop"}})
    NEW = thing(CONFIG_KIND, "features", {"metadata": {"name": "x", "namespace": "shop"}})

    def test_the_object_is_kept(self) -> None:
        planned = plan(made(self.OLD), made(self.NEW))
        assert planned.aliases == {self.OLD["urn"]: (self.NEW["urn"],)}
        assert planned.deletes == ()

    def test_a_kind_in_another_api_version_is_the_same_object(self) -> None:
        old = thing("kubernetes:extensions/v1beta1:Ingress", "web")
        new = thing("kubernetes:networking.k8s.io/v1:Ingress", "web")
        assert plan(made(old), made(new)).aliases == {old["urn"]: (new["urn"],)}

    def test_a_kind_of_another_group_is_another_object(self) -> None:
        old = thing("kubernetes:core/v1:Service", "web")
        new = thing("kubernetes:serving.knative.dev/v1:Service", "web")
        assert plan(made(old), made(new)).aliases == {}

    def test_an_object_of_that_name_in_another_cluster_is_not_the_same(self) -> None:
        other = urn("pulumi:providers:kubernetes", "other")
        new = {**self.NEW, "provider": f"{other}::1"}
        assert plan(made(self.OLD), made(new)).aliases == {}

    def test_two_that_both_exist_are_not_one(self) -> None:
        assert plan(made(self.OLD), made(self.OLD, self.NEW)).aliases == {}

    def test_a_namespace_that_was_renamed_is_no_loss(self) -> None:
        kind = "kubernetes:core/v1:Namespace"
        named = {"metadata": {"name": "shop"}}
        plan(made(thing(kind, "home", named)), made(thing(kind, "ours", named))).require()


class TestLosses:
    """What would be destroyed."""

    def test_replacing_what_holds_data_is_refused_unless_insisted_on(self) -> None:
        taking = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
        before, after = ({"spec": {**taking, "serviceName": it}} for it in "ab")
        kind = "kubernetes:apps/v1:StatefulSet"
        planned = plan(made(thing(kind, "db", before)), made(thing(kind, "db", after)))
        with pytest.raises(AegisError, match="destroy data") as refused:
            planned.require(command="aegis rollback --to 1")
        assert refused.value.next.endswith("aegis rollback --to 1 --allow-data-loss")
        planned.require(allow_data_loss=True)

    def test_what_is_retained_is_not_lost(self) -> None:
        planned = plan(made(), made(thing(CLAIM, "data", retainOnDelete=True)))
        planned.require()
        assert planned.stays == ()

    @pytest.mark.parametrize(
        ("before", "after", "lost"),
        [
            ({"storageClassName": "a"}, {"storageClassName": "b"}, True),
            ({"resources": {"requests": 1}}, {"resources": {"requests": 2}}, False),
            ({"volumeName": "v"}, {"volumeName": "v"}, False),
        ],
    )
    def test_a_claim_is_lost_when_it_has_to_be_replaced(
        self, before: Any, after: Any, lost: bool
    ) -> None:
        recorded, now = (made(thing(CLAIM, "data", {"spec": spec})) for spec in (before, after))
        assert bool(plan(recorded, now, LOSING).losses) is lost

    def test_a_claim_under_another_name_is_another_claim(self) -> None:
        named = {"metadata": {"name": "data-2", "namespace": "shop"}}
        assert plan(made(thing(CLAIM, "data")), made(thing(CLAIM, "data", named)), LOSING).losses

    @pytest.mark.parametrize(
        ("options", "now", "lost"),
        [
            ({"replacementTrigger": secret(1)}, {"replacementTrigger": 2}, True),
            ({"replacementTrigger": secret(1)}, {"replacementTrigger": 1}, False),
            ({"replacementTrigger": 1}, {}, False),
            ({"replaceOnChanges": ["metadata.labels"]}, {}, True),
            ({"replaceOnChanges": ["spec"]}, {}, False),
        ],
    )
    def test_a_claim_is_lost_when_the_program_has_it_replaced(
        self, options: Any, now: Any, lost: bool
    ) -> None:
        labelled = {"metadata": {"name": "data", "namespace": "shop", "labels": {"a": "b"}}}
        recorded = made(thing(CLAIM, "data", **options))
        present = made(thing(CLAIM, "data", labelled, **now))
        assert bool(plan(recorded, present, LOSING).losses) is lost

    @pytest.mark.parametrize(
        ("policy", "service", "lost"),
        [("Delete", "other", True), ("Delete", "web", False), ("Retain", "other", False)],
    )
    def test_a_stateful_set_may_take_its_volumes_with_it(
        self, policy: str, service: str, lost: bool
    ) -> None:
        def serving(service: str) -> Any:
            keeping = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy}}
            spec = {"spec": {**keeping, "serviceName": service}}
            return made(thing("kubernetes:apps/v1:StatefulSet", "db", spec))

        assert bool(plan(serving("web"), serving(service)).losses) is lost
        gone = plan(made(), serving("web"), LOSING)
        assert bool(gone.losses) is (policy == "Delete")

    @pytest.mark.parametrize(
        ("kind", "lost"),
        [("PersistentVolumeClaim/v1", True), ("Deployment.apps/apps/v1", False)],
    )
    def test_a_helm_release_may_hold_volumes(self, kind: str, lost: bool) -> None:
        release = thing(RELEASE, "db", {"resourceNames": {kind: ["shop/data"]}})
        assert bool(plan(made(), made(release), LOSING).losses) is lost

    def test_what_is_protected_may_stay_but_not_be_replaced(self) -> None:
        named = {"metadata": {"name": "other", "namespace": "shop"}}
        kept, other = (thing(CONFIG_KIND, "a", it, protect=True) for it in ({}, named))
        plan(made(kept), made(kept)).require()
        planned = plan(made(other), made(kept))
        assert planned.protected == (kept["urn"],)
        with pytest.raises(AegisError, match="protected") as refused:
            planned.require(allow_data_loss=True)
        assert f"pulumi state unprotect '{kept['urn']}'" in refused.value.next

    def test_an_image_in_a_registry_is_data(self) -> None:
        kind = "docker:index/registryImage:RegistryImage"
        kept = thing(kind, "web", {"keepRemotely": True})
        assert plan(made(), made(thing(kind, "web")), LOSING).losses
        assert not plan(made(), made(kept), LOSING).losses


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        ({"template": 1}, {"template": 1}, []),
        ({"template": 1}, {"template": 2}, [True]),
        ({"template": 1, "backoffLimit": 1}, {"template": 1, "backoffLimit": 2}, []),
        ({"ttlSecondsAfterFinished": 9}, {"ttlSecondsAfterFinished": 9}, [False]),
        ({"template": 1}, None, [True]),
    ],
)
def test_a_job_that_would_run_again_is_said(before: Any, after: Any, again: list[bool]) -> None:
    now = made() if after is None else made(thing(JOB, "migrate", {"spec": after}))
    reruns = plan(made(thing(JOB, "migrate", {"spec": before})), now).reruns
    assert [item.certain for item in reruns] == again


@pytest.mark.parametrize(
    ("value", "complete"),
    [
        ({"path": "chart.tgz", "hash": "1"}, False),
        ({"text": "all of it", "hash": "1"}, True),
        ({"assets": {}, "hash": "1"}, True),
    ],
)
def test_what_is_made_of_files_cannot_be_restored(value: Any, complete: bool) -> None:
    from aegis_deploy.model.signatures import SIGNATURE

    asset = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", **value}
    planned = plan(made(thing(CONFIG_KIND, "a", {"data": {"file": asset}})), made())
    assert (planned.missing == ()) is complete
    if not complete:
        with pytest.raises(AegisError, match="cannot be restored"):
            planned.require(allow_data_loss=True)


def test_what_runs_pods_that_no_gate_looks_at_is_known() -> None:
    pods = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}}
    rollout = thing("kubernetes:argoproj.io/v1alpha1:Rollout", "canary", pods)
    planned = plan(made(rollout, thing(DEPLOYMENT, "web", pods), thing(RELEASE, "cache")), made())
    assert planned.unjudged == ("Rollout canary", "Release cache")


def test_what_a_gate_judges_is_told_apart_by_its_kind_though_the_name_is_the_same() -> None:
    kinds = ("Deployment", "StatefulSet", "DaemonSet")
    same = [thing(f"kubernetes:apps/v1:{it}", "db") for it in kinds]
    elsewhere = thing(DEPLOYMENT, "web", {"metadata": {"name": "web"}}, id="web")
    read = thing("kubernetes:apps/v1:DaemonSet", "proxy", external=True)
    planned = plan(made(*same, elsewhere, read), made())
    assert planned.workloads == (
        *(Workload(namespace="shop", name="db", kind=it) for it in kinds),
        Workload(namespace="default", name="web"),
    )
    assert [it.type for it in planned.declared.values()] == [
        *(f"kubernetes:apps/v1:{it}" for it in kinds),
        DEPLOYMENT,
    ]
    assert planned.unjudged == ()


def test_the_jobs_that_run_again_are_known_by_their_names() -> None:
    then = thing(JOB, "migrate", {"spec": {"template": {"a": 1}}})
    now = thing(JOB, "migrate", {"spec": {"template": {"a": 2}}})
    same = thing(JOB, "seed", {"spec": {"template": {"a": 1}}})
    planned = plan(made(then, same), made(now, same))
    assert planned.jobs == (Workload(namespace="shop", name="migrate", kind="Job"),)


def test_the_hooks_of_what_is_deleted_are_known() -> None:
    hooked = thing(CONFIG_KIND, "a", resourceHooks={"BeforeDelete": ["b"], "AfterUpdate": ["u"]})
    assert plan(made(), made(hooked)).hooks == ("b",)


def test_workloads_of_two_clusters_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = standing(monkeypatch)
    now = parse({"resources": stack.session.resources()})
    planned = plan(now, now)
    stack.flow.clusters.learn(planned.resources)
    names = {it: stack.flow.clusters.place(it) for it in (EAST["urn"], WEST["urn"])}
    assert [it.cluster for it in replace(planned, places=names).declared] == ["east", "west"]
    files = {EAST["urn"]: None, WEST["urn"]: ""}
    assert [it.cluster for it in replace(planned, places=files).workloads] == [""]
