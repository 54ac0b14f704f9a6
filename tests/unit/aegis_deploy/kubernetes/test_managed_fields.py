"""Whose a field is: what control loops decide on, and what a person's hand set.

The objects in ``recorded/managed-fields.json`` are an API server's own (1.35): made, scaled,
edited, patched, applied, and written by loops since.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.kubernetes.managed_fields import REPLICAS, Owners, Scaling, written
from aegis_deploy.kubernetes.managed_fields import Path as Where

RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "managed-fields.json").read_text())
HPA = Scaling("HorizontalPodAutoscaler web", known=True)
NONE = Scaling(known=True)
WEB: Where = ("spec", "template", "spec", "containers", "[web]")
PULUMI = "pulumi-kubernetes-1a2b3c4d"


def entry(
    manager: str, *path: str, whole: bool = True, subresource: str = "", **more: Any
) -> dict[str, Any]:
    """What one manager owns: one field."""
    fields: Any = {} if whole else {".": {}}
    for part in reversed(path):
        fields = {part: fields}
    return {
        "manager": manager,
        "operation": "Update",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **({"subresource": subresource} if subresource else {}),
        **more,
    }


def live(*entries: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}, "spec": spec}


def scale(manager: str) -> dict[str, Any]:
    # The API server records no time for what comes through this subresource.
    return entry(manager, "f:spec", "f:replicas", subresource="scale")


def status(manager: str) -> dict[str, Any]:
    return entry(manager, "f:status", "f:replicas", subresource="status")


class TestWhatAServerRecorded:
    """The rules against objects as they are."""

    @pytest.mark.parametrize(
        ("name", "scaling", "path", "loop", "hand"),
        [
            # Kubernetes' own autoscaler, while it aims at the object, and what it left behind.
            ("autoscaled", HPA, REPLICAS, HPA.replicas, ""),
            ("autoscaled", Scaling(), REPLICAS, "kube-controller-manager", ""),
            ("autoscaled", NONE, REPLICAS, "", "kube-controller-manager"),
            # Somebody's `kubectl scale`; an autoscaler would overrule it.
            ("deployment", NONE, REPLICAS, "", "kubectl"),
            ("deployment", Scaling(), REPLICAS, "", "kubectl"),
            ("deployment", HPA, REPLICAS, HPA.replicas, "kubectl"),
            ("deployment", NONE, (*WEB, "image"), "", "kubectl-set"),
            (
                "deployment",
                NONE,
                (*WEB, "resources", "requests", "cpu"),
                "recommender-of-sizes",
                "",
            ),
            ("deployment", NONE, (*WEB, "env", "[B]", "value"), "", "alice"),
            ("deployment", NONE, (*WEB, "env", "[A]", "value"), "", ""),
            ("deployment", NONE, ("metadata", "annotations", "seen"), "", "Mozilla"),
            # A list's item whose key the server completed; who sets finalizers is a loop.
            ("service", NONE, ("spec", "ports", "[80]", "nodePort"), "cloud-lb", ""),
            ("service", NONE, ("spec", "ports", "[80/TCP]", "nodePort"), "cloud-lb", ""),
            ("service", NONE, ("spec", "ports", "[80]", "targetPort"), "", ""),
            ("service", NONE, ("metadata", "annotations", "lb"), "cloud-lb", ""),
            # A list that is owned as a whole.
            ("ingress", NONE, ("spec", "rules", "[0]", "host"), "", "kubectl-edit"),
            (
                "webhook",
                NONE,
                ("webhooks", "[a.example.com]", "clientConfig", "caBundle"),
                "cainjector",
                "",
            ),
            ("webhook", NONE, ("webhooks", "[a.example.com]", "failurePolicy"), "", ""),
        ],
    )
    def test_each_field_is_a_loops_or_in_somebodys_hand(
        self, name: str, scaling: Scaling, path: Where, loop: str, hand: str
    ) -> None:
        owners = Owners(RECORDED[name], scaling)
        by = owners.by_hand(path)
        assert (owners.loop(path), "" if by is None else by.name) == (loop, hand)

    @pytest.mark.parametrize(
        ("name", "added"),
        [
            (
                "deployment",
                {
                    "metadata.annotations.seen",
                    "spec.template.spec.containers[web].image",
                    "spec.template.spec.containers[web].env[B]",
                    "spec.template.spec.containers[web].env[B].name",
                    "spec.template.spec.containers[web].env[B].value",
                    # Of its own apply: the item that holds it is there for it, too.
                    "spec.template.spec.containers[web]",
                    "spec.template.spec.containers[web].name",
                    "spec.replicas",
                },
            ),
            ("service", set()),
            ("webhook", set()),
            ("autoscaled", {"spec.replicas"}),
        ],
    )
    def test_what_loops_wrote_beside_is_left_to_them(self, name: str, added: set[str]) -> None:
        owners = Owners(RECORDED[name], NONE)
        assert {
            written(path)
            for it in owners.managers
            for path in it.fields
            if not owners.leaves(it, path)
        } == added


class TestWhoIsWho:
    """A manager by its name, and by what else it writes."""

    ANNOTATION = ("metadata", "annotations", "x")

    @pytest.mark.parametrize(
        "name",
        [
            *("kubectl", "kubectl-edit", "kubectl-client-side-apply", "kubectl1.31", "oc", "k9s"),
            *("helm", "Terraform", "terraform-provider-kubernetes", "HashiCorp", "tofu", "Mozilla"),
            *("dashboard-api", "Lens", "curl", "python-requests", "OpenAPI-Generator"),
            *("node-fetch", "Go-http-client", "unknown", "before-first-apply"),
        ],
    )
    def test_a_persons_client_is_a_hand_whatever_it_sets(self, name: str) -> None:
        it = live(entry(name, "f:spec", "f:replicas"), entry(name, "f:metadata", "f:finalizers"))
        owners = Owners(it, NONE)
        assert owners.loop(REPLICAS) == ""
        assert [by.name for by in owners.hands] == [name, name]
        assert not any(owners.leaves(by, self.ANNOTATION) for by in owners.managers)

    @pytest.mark.parametrize(
        "name",
        [
            *("kube-controller-manager", "cert-manager-cainjector", "kubelet", "vpa-updater"),
            *("keda", "keda-operator", "helm-controller", "terraform-operator", "manager"),
            *("cluster-proportional-autoscaler", "python-operator", "argocd-controller"),
        ],
    )
    def test_one_whose_name_says_so_is_a_loop(self, name: str) -> None:
        owners = Owners(live(entry(name, "f:spec", "f:x")), NONE)
        assert owners.loop(("spec", "x")) == name
        assert owners.hands == []

    @pytest.mark.parametrize(
        "more",
        [
            status("of-no-name"),
            entry("of-no-name", "f:metadata", "f:finalizers", 'v:"example.com/x"'),
            entry("of-no-name", "f:metadata", "f:ownerReferences", 'k:{"uid":"1"}'),
        ],
    )
    def test_one_that_writes_what_only_loops_write_is_a_loop(self, more: dict[str, Any]) -> None:
        field = entry("of-no-name", "f:spec", "f:x")
        assert Owners(live(field, more)).loop(("spec", "x")) == "of-no-name"
        assert Owners(live(field)).loop(("spec", "x")) == ""

    @pytest.mark.parametrize("operation", ["Apply", "Update"])
    def test_in_doubt_what_was_declared_is_drift_and_notes_are_left(self, operation: str) -> None:
        it = live(
            entry("of-no-name", "f:spec", "f:x", operation=operation),
            entry("of-no-name", "f:metadata", "f:labels", "f:l", operation=operation),
            entry("of-no-name", "f:data", "f:labels", operation=operation),
        )
        owners = Owners(it)
        spec, label, data = owners.managers
        assert owners.by_hand(("spec", "x")) is spec
        assert not owners.leaves(spec, ("spec", "x"))
        assert owners.leaves(label, ("metadata", "labels", "l"))
        assert not owners.leaves(data, ("data", "labels")), "a key of data is no label"

    @pytest.mark.parametrize(
        ("path", "is_a_size"),
        [
            (("spec", "replicas"), True),
            (("spec", "resources", "requests", "storage"), True),
            ((*WEB, "resources", "limits", "memory"), True),
            (("spec", "conversion", "webhook", "clientConfig", "caBundle"), True),
            ((*WEB, "image"), False),
            (("rules", "[0]", "resources"), False),
            (("data", "resources"), False),
        ],
    )
    def test_sizes_and_authorities_are_for_loops_of_any_name(
        self, path: Where, is_a_size: bool
    ) -> None:
        raw = [f'k:{{"name":"{it[1:-1]}"}}' if it[0] == "[" else f"f:{it}" for it in path]
        assert Owners(live(entry("of-no-name", *raw))).loop(path) == (
            "of-no-name" if is_a_size else ""
        )
        assert Owners(live(entry("kubectl-patch", *raw))).loop(path) == ""

    @pytest.mark.parametrize("name", [PULUMI, "pulumi-kubernetes", "pulumi-resource-kubernetes"])
    def test_the_provider_is_neither(self, name: str) -> None:
        owners = Owners(live(entry(name, "f:spec", "f:x")))
        assert owners.loop(("spec", "x")) == ""
        assert owners.by_hand(("spec", "x")) is None
        assert owners.leaves(owners.managers[0], ("spec", "x"))

    def test_what_a_loop_and_a_person_hold_is_the_persons(self) -> None:
        field = ("f:spec", "f:x")
        owners = Owners(live(entry("a-controller", *field), entry("kubectl-edit", *field)))
        assert owners.loop(("spec", "x")) == ""
        by = owners.by_hand(("spec", "x"))
        assert by is not None
        assert by.name == "kubectl-edit"


class TestNumbersOfPods:
    """An autoscaler's while there is one."""

    @pytest.mark.parametrize("name", ["kubectl", PULUMI, "of-no-name"])
    def test_whoever_wrote_it_last(self, name: str) -> None:
        assert Owners(live(scale(name), replicas=5), HPA).loop(REPLICAS) == HPA.replicas

    @pytest.mark.parametrize(("name", "loop"), [("kubectl", ""), ("keda", HPA.replicas)])
    def test_at_none_a_persons_word_counts_for_it_switches_autoscalers_off(
        self, name: str, loop: str
    ) -> None:
        assert Owners(live(scale(name), replicas=0), HPA).loop(REPLICAS) == loop

    @pytest.mark.parametrize("name", ["kube-controller-manager", "k3s", "kubelite"])
    def test_what_an_autoscaler_left_that_is_gone_is_nobodys(self, name: str) -> None:
        # Whatever process it ran in: the same that writes the object's status.
        it = live(scale(name), status(name), replicas=4)
        assert Owners(it, NONE).loop(REPLICAS) == ""
        assert Owners(it, Scaling()).loop(REPLICAS) == name, "nobody could look for one"
        other = live(scale("a-scaler"), status(name), replicas=4)
        assert Owners(other, NONE).loop(REPLICAS) == "a-scaler", "it needs no object"


class TestOddEntries:
    """What servers and time make of them."""

    def test_an_entry_without_fields_owns_nothing_and_counts_as_a_writer(self) -> None:
        owners = Owners(live({"manager": "kubectl-edit", "operation": "Update"}))
        assert [it.name for it in owners.hands] == ["kubectl-edit"]
        assert owners.by_hand(REPLICAS) is None

    @pytest.mark.parametrize("metadata", [{}, {"managedFields": None}, {"managedFields": []}])
    def test_without_entries_nothing_is_anybodys(self, metadata: dict[str, Any]) -> None:
        owners = Owners({"metadata": metadata})
        assert (owners.loop(REPLICAS), owners.by_hand(REPLICAS)) == ("", None)

    def test_that_a_map_is_there_is_not_what_is_in_it(self) -> None:
        above = ("f:metadata", "f:annotations")
        path = ("metadata", "annotations", "x")
        assert Owners(live(entry("a-controller", *above, whole=False))).loop(path) == ""
        assert Owners(live(entry("a-controller", *above))).loop(path) == "a-controller"

    def test_items_of_sets_and_by_index_have_names(self) -> None:
        it = live(entry("a-controller", "f:spec", "f:s", 'v:"x"'), entry("b", "f:spec", "i:0"))
        assert [written(path) for by in Owners(it).managers for path in by.fields] == [
            "spec.s[x]",
            "spec[0]",
        ]

    def test_a_longer_path_of_a_mount_is_no_completed_key(self) -> None:
        mounts = ("f:spec", "f:m")
        it = live(entry("a-controller", *mounts, 'k:{"mountPath":"/data/x"}', "f:name"))
        assert Owners(it).loop(("spec", "m", "[/data]", "name")) == ""
        assert Owners(it).loop(("spec", "m", "[/data/x]", "name")) == "a-controller"
