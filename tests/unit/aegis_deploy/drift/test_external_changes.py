"""What befell a release from outside is told from what it did itself."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from aegis_deploy.drift.external_changes import (
    ALTERED,
    compared,
    excuse,
    hands,
    read_by_pods,
    taken,
)
from aegis_deploy.model.events import UpdateFailure
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.model.verdict import LOST, Verdict
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.stage import CRASHED, DEPLOYMENT, FAILED, PASSED, outcome

WEB = Workload(namespace="team", name="web")
IMAGE = "spec.template.spec.containers[web].image"


def _owned(manager: str, time: str, *path: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for part in reversed(path):
        fields = {part: fields}
    return {"manager": manager, "time": time, "operation": "Update", "fieldsV1": fields}


def _live(*entries: dict[str, Any], image: str = "one", replicas: int = 2) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "team", "managedFields": list(entries)},
        "spec": {
            "replicas": replicas,
            "template": {
                "spec": {
                    "containers": [{"name": "web", "image": image, "env": [{"name": "TOKEN"}]}]
                }
            },
        },
    }


PULUMI = _owned("pulumi-kubernetes-1a", "2026-01-02T03:04:05Z", "f:spec", "f:template")
IMAGE_PATH = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"web"}', "f:image")
STATE = {
    "urn": f"urn:pulumi:s::p::{DEPLOYMENT}::web",
    "type": DEPLOYMENT,
    "id": "team/web",
    "inputs": {
        "metadata": {"name": "web", "namespace": "team"},
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "one",
                            "env": [
                                {
                                    "name": "TOKEN",
                                    "value": {SIGNATURE: SECRET, "ciphertext": "v1:x"},
                                }
                            ],
                        }
                    ]
                }
            },
        },
    },
    "outputs": {"metadata": {"name": "web", "namespace": "team"}},
}


class TestHands:
    """Whoever set something after Pulumi did is named, with what and when."""

    def test_an_image_set_after_it_is(self) -> None:
        entry = _owned("kubectl-set", "2026-01-02T03:04:06Z", *IMAGE_PATH)
        assert hands(_live(PULUMI, entry)) == [
            f"kubectl-set set {IMAGE} of Deployment web at 2026-01-02T03:04:06Z"
        ]

    def test_what_it_was_set_of_is_called_by_its_kind(self) -> None:
        entry = _owned("kubectl-set", "2026-01-02T03:04:06Z", *IMAGE_PATH)
        (line,) = hands({**_live(PULUMI, entry), "kind": "StatefulSet"})
        assert "of StatefulSet web at" in line

    @pytest.mark.parametrize(
        "entry",
        [
            _owned("kubectl-set", "2026-01-02T03:04:04Z", *IMAGE_PATH),
            _owned("kube-controller-manager", "2026-01-02T03:04:06Z", "f:spec", "f:replicas"),
            _owned("kubectl-annotate", "2026-01-02T03:04:06Z", "f:metadata", "f:annotations"),
            _owned(
                "kubectl-rollout",
                "2026-01-02T03:04:06Z",
                *("f:spec", "f:template", "f:metadata", "f:annotations"),
                "f:kubectl.kubernetes.io/restartedAt",
            ),
        ],
        ids=["before Pulumi", "a control loop", "an annotation", "a restart"],
    )
    def test_what_changes_no_declared_field_after_it_is_none(self, entry: dict[str, Any]) -> None:
        assert hands(_live(PULUMI, entry)) == []

    def test_nothing_is_said_of_what_pulumi_never_set(self) -> None:
        assert hands(_live(_owned("kubectl-set", "2026-01-02T03:04:06Z", *IMAGE_PATH))) == []


class TestExcuse:
    """A release that failed by itself has none."""

    @pytest.mark.parametrize("verdict", [CRASHED, FAILED])
    def test_what_a_release_did_itself_has_none(self, verdict: Verdict) -> None:
        assert excuse(outcome(False), verdict, silent=30) is None

    @pytest.mark.parametrize("kind", ["registry", "node", "deleted", ALTERED, LOST])
    def test_what_is_not_of_it_is_one(self, kind: str) -> None:
        assert excuse(outcome(False), Verdict(passed=False, reason="x", kind=kind))

    def test_a_hand_is_named(self) -> None:
        assert excuse(outcome(False), CRASHED, hands=["kubectl-set set it"]) == "kubectl-set set it"

    @pytest.mark.parametrize("kind", ["configmap", "secret"])
    def test_what_it_brought_along_and_is_missing_was_deleted_by_somebody(self, kind: str) -> None:
        reason = f'container web cannot be made (CreateContainerConfigError): {kind} "c" not found'
        verdict = Verdict(passed=False, reason=reason, kind="configuration")
        token = {"configmap": "ConfigMap", "secret": "Secret"}[kind]
        brought = {
            "type": f"kubernetes:core/v1:{token}",
            "outputs": {"metadata": {"name": "c"}},
        }
        assert excuse(outcome(False), verdict) is None, "it names what nobody made"
        for it in (
            excuse(outcome(False), verdict, resources=[brought]),
            # A program's own gate may be the first to see it.
            excuse(
                outcome(False, failures=(UpdateFailure("u", reason),)), None, resources=[brought]
            ),
        ):
            assert it == f"somebody deleted {token} c"

    def test_an_update_that_failed_in_an_outage_is_excused(self) -> None:
        said = excuse(outcome(False), None, silent=19.6)
        assert said == "the cluster did not answer for 20 s meanwhile"

    @pytest.mark.parametrize(
        "message",
        [
            "the Kubernetes API server at https://x does not answer: connection refused",
            'Get "https://x/api": dial tcp: connect: connection refused',
            "etcdserver: request timed out",
            "the server is currently unable to handle the request",
            "configured Kubernetes cluster is unreachable: unable to load schema",
        ],
    )
    def test_and_so_is_one_whose_provider_says_that_nobody_answered(self, message: str) -> None:
        assert excuse(outcome(False, failures=(UpdateFailure("u", message),)), None)

    def test_one_that_the_cluster_refused_is_not(self) -> None:
        refused = outcome(
            False, failures=(UpdateFailure("u", "Deployment is invalid: spec.replicas"),)
        )
        assert excuse(refused, None) is None


class TestCompared:
    """What passed the gate has to be what was deployed."""

    def _compared(self, live: dict[str, Any]) -> tuple[Verdict, list[str]]:
        return compared(PASSED, [STATE], {WEB: live}, lambda a, b: a == b)

    def test_what_is_as_declared_passes(self) -> None:
        assert self._compared(_live(PULUMI)) == (PASSED, [])

    def test_another_image_does_not_however_healthy_it_is(self) -> None:
        entry = _owned("kubectl-set", "2026-01-02T03:04:06Z", *IMAGE_PATH)
        verdict, beside = self._compared(_live(PULUMI, entry, image="two"))
        assert (verdict.passed, verdict.kind, beside) == (False, ALTERED, [])
        (line,) = verdict.evidence
        assert line == (
            f"Deployment web: {IMAGE} is two, one was declared "
            "(by kubectl-set at 2026-01-02T03:04:06Z)"
        )

    def test_another_number_of_pods_is_only_told(self) -> None:
        entry = _owned("kubectl", "2026-01-02T03:04:06Z", "f:spec", "f:replicas")
        verdict, beside = self._compared(_live(PULUMI, entry, replicas=3))
        assert verdict is PASSED
        (line,) = beside
        assert line == (
            "Deployment web: spec.replicas is 3, 2 was declared "
            "(by kubectl at 2026-01-02T03:04:06Z)"
        )

    def test_what_the_server_wrote_in_another_way_is_nobodys_hand(self) -> None:
        assert self._compared(_live(PULUMI, image="docker.io/one")) == (PASSED, [])

    def test_a_deployment_that_was_not_read_is_not_compared(self) -> None:
        assert compared(PASSED, [STATE], {}, lambda a, b: a == b) == (PASSED, [])


class TestWhatPodsRead:
    """What they read at their start has to be there for the next pod, too."""

    POD: ClassVar[dict[str, Any]] = {
        "containers": [
            {
                "envFrom": [
                    {"configMapRef": {"name": "settings"}},
                    {"secretRef": {"name": "perhaps", "optional": True}},
                ],
                "env": [{"valueFrom": {"secretKeyRef": {"name": "token", "key": "a"}}}],
            }
        ],
        "volumes": [
            {"secret": {"secretName": "certificate"}},
            {"projected": {"sources": [{"configMap": {"name": "roots"}}]}},
            {"configMap": {"name": "of somebody else"}},
        ],
    }
    LIVE: ClassVar[dict[str, Any]] = {
        "metadata": {"namespace": "team"},
        "spec": {"template": {"spec": POD}},
    }

    @staticmethod
    def _declared(kind: str, name: str, **more: Any) -> dict[str, Any]:
        return {"type": f"kubernetes:core/v1:{kind}", "id": f"team/{name}", **more}

    def test_it_is_what_the_release_declared_and_the_pods_name(self) -> None:
        declared = [
            self._declared("ConfigMap", "settings"),
            self._declared("ConfigMap", "roots"),
            self._declared("Secret", "token"),
            self._declared("Secret", "certificate"),
            self._declared("Secret", "perhaps"),
            self._declared("Secret", "settings"),
            self._declared("ConfigMap", "of nobody"),
            self._declared("ConfigMap", "of somebody else", external=True),
            {"type": "kubernetes:core/v1:Namespace", "id": "team"},
            {"type": "pulumi:pulumi:Stack"},
        ]
        assert read_by_pods(declared, [self.LIVE]) == [
            ("ConfigMap", "team", "roots"),
            ("ConfigMap", "team", "settings"),
            ("Secret", "team", "certificate"),
            ("Secret", "team", "token"),
        ]

    def test_a_replaced_one_that_waits_to_be_deleted_is_not_needed(self) -> None:
        assert read_by_pods([self._declared("Secret", "token", delete=True)], [self.LIVE]) == []

    def test_what_was_taken_away_is_named_and_nothing_passes_without_it(self) -> None:
        verdict = taken(PASSED, [("ConfigMap", "team", "settings")])
        assert not verdict.passed
        assert verdict.reason.endswith("somebody deleted ConfigMap settings")
        assert excuse(None, verdict) is not None
        assert taken(PASSED, []) is PASSED
