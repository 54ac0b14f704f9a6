"""What is in the cluster, was this stack's, and is not in its state any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.kubernetes.client import NOT_FOUND, ApiError, Cluster
from aegis_deploy.replay import adoption
from aegis_deploy.replay.adoption import Adoption, is_same, look
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import Checkpoint, outline, parse
from tests.unit.aegis_deploy.made_backend import MadeBackend
from tests.unit.aegis_deploy.states import (
    CONFIG_KIND,
    DEFAULT,
    SECRET_KIND,
    made,
    state,
    thing,
    urn,
)

SPACE = "kubernetes:core/v1:Namespace"
PROVIDER = "pulumi:providers:kubernetes"
OWN = "pulumi-kubernetes-0a1b2c3d"


def recorded(name: str, uid: str, token: str = CONFIG_KIND, /, **inputs: Any) -> dict[str, Any]:
    """An object as a state has it that the cluster gave a UID."""
    found = thing(token, name, inputs)
    metadata = {**found["inputs"]["metadata"], "uid": uid}
    return {**found, "outputs": {"metadata": metadata}}


def live(uid: str, *managers: str, **metadata: Any) -> dict[str, Any]:
    """An object of the cluster."""
    fields = [{"manager": it} for it in managers]
    return {"metadata": {"uid": uid, "managedFields": fields, **metadata}}


class Fake:
    """A cluster with some objects, which knows three kinds."""

    def __init__(self, **objects: dict[str, Any]) -> None:
        self.objects = objects
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        if path == "/api/v1":
            kinds = {"ConfigMap": True, "Secret": True, "Namespace": False}
            listed = [
                {"kind": kind, "name": f"{kind.lower()}s", "namespaced": within}
                for kind, within in kinds.items()
            ]
            return {"resources": listed}
        if path == "/apis/gone/v1":
            raise ApiError(NOT_FOUND, "no such group")
        found = self.objects.get(path.rpartition("/")[2])
        if found is None:
            raise ApiError(NOT_FOUND, "not found")
        return found


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


def found_by(backend: MadeBackend, cluster: Fake, release: Checkpoint, now: Checkpoint) -> Adoption:
    """Look for what the replay of a release would make anew; the history is the backend's."""
    session, planned = backend.session(), plan(release, now)
    return look(
        session,
        planned.made_anew(now),
        {},
        (release, now),
        releases=stack_history.reading(session),
        connect=lambda _: cast(Cluster, cluster),
    )


class TestTheVeryObject:
    """Whether an object is the one a record is of."""

    @pytest.mark.parametrize(
        ("manager", "there", "same"),
        [
            ("", live("1"), True),
            ("", live("2"), False),
            (OWN, live("2", "kubectl", OWN), True),
            # Not one object's own: others write under it, too.
            ("pulumi-kubernetes", live("2", "pulumi-kubernetes"), False),
            ("mine", live("2", "mine"), False),
            ("", live(""), False),
        ],
    )
    def test_is_told_by_its_uid_or_by_a_manager_made_up_for_it(
        self, manager: str, there: dict[str, Any], same: bool
    ) -> None:
        raw = recorded("a", "1")
        raw["outputs"]["__fieldManager"] = manager
        assert is_same(outline(raw), there) is same

    def test_no_uid_is_no_proof(self) -> None:
        assert not is_same(outline(recorded("a", "")), live(""))
        assert not is_same(outline(thing(CONFIG_KIND, "a")), {})


class TestLooking:
    """What is asked for, and what is made of the answer."""

    def test_what_is_not_there_is_made(self, backend: MadeBackend) -> None:
        cluster = Fake()
        assert not found_by(backend, cluster, made(recorded("a", "1")), made())
        assert cluster.asked[-1] == "/api/v1/namespaces/shop/configmaps/a"

    def test_what_the_state_has_is_not_asked_for(self, backend: MadeBackend) -> None:
        cluster, both = Fake(a=live("1")), made(recorded("a", "1"))
        assert not found_by(backend, cluster, both, both)
        assert cluster.asked == []

    def test_the_release_s_own_object_is_adopted(self, backend: MadeBackend) -> None:
        found = found_by(backend, Fake(a=live("1")), made(recorded("a", "1")), made())
        assert [it.id for it in found.ours.values()] == ["shop/a"]
        assert found.foreign == ()

    def test_an_object_of_the_cluster_is_too(self, backend: MadeBackend) -> None:
        raw = recorded("shop", "1", SPACE)
        raw["id"] = "shop"
        cluster = Fake(shop=live("1"))
        assert found_by(backend, cluster, made(raw), made()).ours
        assert cluster.asked[-1] == "/api/v1/namespaces/shop"

    def test_one_that_a_later_release_made_is_as_that_one_recorded_it(
        self, backend: MadeBackend
    ) -> None:
        backend.update(state=state(recorded("a", "2", data={"of": "older"})))
        backend.update(state=state(recorded("a", "2", data={"of": "newer", "more": "1"})))
        target = made(recorded("a", "1", data={"of": "target"}))
        found = found_by(backend, Fake(a=live("2")), target, made())
        (ours,) = found.ours.values()
        assert ours.inputs["data"] == {"of": "newer", "more": "1"}, "what there is to be undone"

    def test_a_refresh_knows_it_as_well(self, backend: MadeBackend) -> None:
        backend.update(kind="refresh", state=state(recorded("a", "2")))
        assert found_by(backend, Fake(a=live("2")), made(recorded("a", "1")), made()).ours

    def test_it_is_known_under_another_urn_and_another_version_of_its_api(
        self, backend: MadeBackend
    ) -> None:
        old, new = (
            "kubernetes:extensions/v1beta1:Ingress",
            "kubernetes:networking.k8s.io/v1:Ingress",
        )
        backend.update(state=state({**recorded("a", "2", old), "urn": urn(old, "other")}))
        target = recorded("a", "1", new, apiVersion="v1", kind="ConfigMap")
        (ours,) = found_by(backend, Fake(a=live("2")), made(target), made()).ours.values()
        assert ours.type == new
        assert ours.urn == target["urn"]

    def test_what_no_record_is_of_is_somebody_else_s(self, backend: MadeBackend) -> None:
        backend.update(state=state(recorded("a", "2"), recorded("b", "9")))
        there = live("9", "kubectl-create", creationTimestamp="2026-01-02T03:04:05Z")
        found = found_by(backend, Fake(a=there), made(recorded("a", "1")), made())
        assert found.ours == {}
        (line,) = found.foreign
        assert "ConfigMap shop/a: made 2026-01-02T03:04:05Z, by kubectl-create" in line

    def test_what_is_on_its_way_out_is_neither(self, backend: MadeBackend) -> None:
        there = live("1", deletionTimestamp="2026-01-02T03:04:05Z")
        assert not found_by(backend, Fake(a=there), made(recorded("a", "1")), made())

    def test_what_the_state_has_by_another_name_is_neither(self, backend: MadeBackend) -> None:
        now = {**recorded("a", "1"), "urn": urn(CONFIG_KIND, "b"), "provider": f"{DEFAULT}2::1"}
        assert not found_by(backend, Fake(a=live("1")), made(recorded("a", "1")), made(now))

    def test_several_are_each_judged_for_itself(self, backend: MadeBackend) -> None:
        release = made(
            recorded("a", "1"),
            recorded("b", "2", SECRET_KIND),
            recorded("c", "3"),
            recorded("d", "4"),
        )
        cluster = Fake(a=live("1"), b=live("2"), c=live("x"))
        found = found_by(backend, cluster, release, made())
        assert sorted(it.name for it in found.ours.values()) == ["a", "b"]
        assert [line.partition(":")[0] for line in found.foreign] == ["ConfigMap shop/c"]

    @pytest.mark.parametrize(
        "raw",
        [
            {**recorded("a", "1"), "external": True},
            thing("aws:s3/bucket:Bucket", "a"),
            recorded("a", "1", "kubernetes:core/v1:ConfigMapPatch", kind="ConfigMap"),
            recorded("a", "1", "kubernetes:helm.sh/v3:Release"),
            {**thing("shop:a:B", "a"), "custom": False},
        ],
    )
    def test_what_is_no_object_of_its_own_is_not_asked_for(
        self, backend: MadeBackend, raw: dict[str, Any]
    ) -> None:
        cluster = Fake(a=live("1"))
        assert not found_by(backend, cluster, made(raw), made())
        assert cluster.asked == []


class TestProviders:
    """Which cluster is asked."""

    def test_one_that_writes_files_is_not_asked(self, backend: MadeBackend) -> None:
        inputs = {"renderYamlToDirectory": "x"}
        provider = outline({"urn": DEFAULT, "type": PROVIDER, "inputs": inputs})
        release = made(recorded("a", "1"))
        found = look(
            backend.session(),
            plan(release, made()).made_anew(made()),
            {DEFAULT: provider},
            (release, made()),
            releases=(),
            connect=lambda _: cast(Cluster, Fake(a=live("1"))),
        )
        assert not found

    @pytest.mark.parametrize("given", [True, "true", False, None])
    def test_one_that_takes_over_what_is_there_is_not_refused(
        self, backend: MadeBackend, given: object
    ) -> None:
        inputs = {"upsertExistingObjects": given}
        provider = outline({"urn": DEFAULT, "type": PROVIDER, "inputs": inputs})
        release = made(recorded("a", "1"))
        found = look(
            backend.session(),
            plan(release, made()).made_anew(made()),
            {DEFAULT: provider},
            (release, made()),
            releases=(),
            connect=lambda _: cast(Cluster, Fake(a=live("2"))),
        )
        assert bool(found.foreign) is not (given in (True, "true"))


class TestPlan:
    """What a replay makes of it."""

    RELEASE = made(recorded("a", "1", data={"of": "release"}), recorded("b", "2"))

    def _planned(self, release: Checkpoint = RELEASE, now: Checkpoint | None = None) -> Any:
        last = parse(state(recorded("a", "5", data={"of": "last"}))).resources[-1]
        ours = replace(release.alive[last.urn], inputs=last.inputs, outputs=last.outputs)
        return plan(release, now or made(), adopting=Adoption({last.urn: ours}))

    def test_it_is_entered_as_it_was_last_recorded_and_registered_as_the_release_has_it(
        self,
    ) -> None:
        planned = self._planned()
        assert planned.adopted == planned.altered == ("ConfigMap a",)
        assert planned.prepares
        assert planned.absent == {urn(CONFIG_KIND, "a")}, "a preview does not find it yet"
        (entered,) = planned.prepare({"deployment": state()})["deployment"]["resources"][2:]
        assert entered["inputs"]["data"] == {"of": "last"}
        assert entered["outputs"]["metadata"]["uid"] == "5"
        assert entered["provider"] == f"{DEFAULT}::1"
        (registered,) = [it for it in planned.resources if it.name == "a"]
        assert registered.inputs["data"] == {"of": "release"}
        planned.require()

    def test_its_components_and_its_program_s_provider_are_entered_with_it(self) -> None:
        group = {"urn": urn("shop:a:B", "g"), "type": "shop:a:B", "custom": False}
        mine = {
            "urn": urn(PROVIDER, "mine"),
            "type": PROVIDER,
            "custom": True,
            "id": "7",
            "parent": group["urn"],
            "inputs": {"context": "there"},
        }
        own = {**recorded("a", "1"), "provider": f"{mine['urn']}::7", "parent": group["urn"]}
        child = {**recorded("b", "2"), "provider": f"{mine['urn']}::7", "parent": own["urn"]}
        release = made(group, mine, own, child)
        planned = self._planned(release)
        entered = planned.prepare({"deployment": state()})["deployment"]["resources"][2:]
        assert [it["urn"] for it in entered] == [group["urn"], mine["urn"], own["urn"]]
        assert entered[2]["provider"] == f"{mine['urn']}::7"
        assert entered[2]["parent"] == group["urn"]

    def test_one_whose_parent_is_made_anew_has_the_stack_for_a_parent_until_then(self) -> None:
        parent = recorded("b", "2")
        release = made(parent, {**recorded("a", "1"), "parent": parent["urn"]})
        planned = self._planned(release)
        (entered,) = planned.prepare({"deployment": state()})["deployment"]["resources"][2:]
        assert entered["parent"] == state()["resources"][0]["urn"]

    def test_after_a_destroy_the_stack_itself_and_the_default_provider_are_entered(self) -> None:
        planned = self._planned(now=parse({}))
        empty: dict[str, Any] = {"deployment": {"resources": []}}
        entered = planned.prepare(empty)["deployment"]["resources"]
        assert [it["urn"] for it in entered] == [
            state()["resources"][0]["urn"],
            DEFAULT,
            urn(CONFIG_KIND, "a"),
        ]

    def test_what_would_be_replaced_and_holds_data_stays_as_it_is(self) -> None:
        kind = "kubernetes:core/v1:PersistentVolumeClaim"
        release = made(recorded("a", "1", kind, spec={"accessModes": ["ReadWriteOnce"]}))
        last = parse(state(recorded("a", "1", kind, spec={"accessModes": ["ReadOnlyMany"]})))
        planned = plan(
            release, made(), adopting=Adoption({last.resources[-1].urn: last.resources[-1]})
        )
        assert [it.own for it in planned.stays] == [True]
        assert planned.resources[0].inputs["spec"] == {"accessModes": ["ReadOnlyMany"]}

    def test_a_job_that_is_there_does_not_run_again(self) -> None:
        kind = "kubernetes:batch/v1:Job"
        release = made(recorded("a", "1", kind, spec={"template": {"x": 1}}))
        assert plan(release, made()).reruns
        ours = {it.urn: it for it in release.resources if it.type == kind}
        assert not plan(release, made(), adopting=Adoption(ours)).reruns

    def test_somebody_else_s_object_is_refused_before_any_change(self) -> None:
        planned = plan(self.RELEASE, made(), adopting=Adoption(foreign=("ConfigMap shop/a: x",)))
        with pytest.raises(AegisError) as refused:
            planned.require(allow_data_loss=True)
        assert "not this stack's" in refused.value.what
        assert "ConfigMap shop/a" in refused.value.why
        assert "pulumi import" in refused.value.next

    def test_one_that_was_left_on_purpose_is_asked_for_as_well(self) -> None:
        release = made({**recorded("a", "1"), "retainOnDelete": True})
        planned = plan(release, made())
        assert planned.left == ("ConfigMap a",)
        assert [it.name for it in planned.made_anew(made())] == ["a"]
        ours = {it.urn: it for it in release.resources if it.type == CONFIG_KIND}
        adopted = plan(release, made(), adopting=Adoption(ours))
        assert (adopted.left, adopted.adopted, adopted.altered) == (("ConfigMap a",), (), ())
        assert [it.urn for it in adopted.entries] == list(ours)


def test_a_kind_is_the_same_in_every_version_of_its_api() -> None:
    assert adoption.kind_of("kubernetes:extensions/v1beta1:Ingress") == adoption.kind_of(
        "kubernetes:networking.k8s.io/v1:Ingress"
    )
    assert adoption.kind_of("aws:s3/bucket:Bucket") == "aws:s3/bucket:Bucket"
