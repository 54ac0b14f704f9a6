"""What each kind waits for, decided on recorded statuses."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from lab.plugins.kubernetes.await_deployment import DeploymentRolledOut
from lab.plugins.kubernetes.await_network import IngressReady, ServiceReady
from lab.plugins.kubernetes.await_pod import selector_text
from lab.plugins.kubernetes.await_simple import Deleted, FieldReady, JobComplete, waited_for
from lab.plugins.kubernetes.awaiting import Cancellation, Condition, WaitError, Waiting, wait_for
from lab.plugins.kubernetes.readiness import condition_for, refresh_condition, timeout
from tests.unit.lab.plugins.kubernetes.objects import (
    MODIFIED,
    make_conditions,
    make_object,
)


def _endpoints(ready: int = 0, pending: int = 0) -> dict[str, Any]:
    subset: dict[str, Any] = {"addresses": [{}] * ready, "notReadyAddresses": [{}] * pending}
    return make_object("Endpoints", subsets=[subset])


class TestServices:
    """A Service is ready ten seconds after its endpoints changed last."""

    def _service(self, **spec: Any) -> dict[str, Any]:
        return make_object("Service", spec={"type": "ClusterIP", "selector": {"app": "a"}, **spec})

    def test_endpoints_settle_for_ten_seconds(self) -> None:
        condition = ServiceReady(self._service())
        condition.observe("ADDED", self._service(), 100)
        assert not condition.met(100)
        condition.observe("ADDED", _endpoints(ready=1), 100)
        assert not condition.met(109.9)
        assert condition.wakes_at() == 110
        assert condition.met(110)
        condition.observe(MODIFIED, _endpoints(ready=1, pending=1), 111)
        assert not condition.met(200)
        condition.observe(MODIFIED, _endpoints(ready=2), 115)
        assert condition.met(125)

    @pytest.mark.parametrize(
        "spec",
        [{"selector": None}, {"clusterIP": "None"}, {"type": "ExternalName"}],
        ids=["no selector", "headless", "external name"],
    )
    def test_some_have_no_endpoints_to_wait_for(self, spec: dict[str, Any]) -> None:
        condition = ServiceReady(self._service(**spec))
        condition.observe("ADDED", self._service(**spec), 0)
        assert condition.met(0)

    def test_a_load_balancer_needs_an_address(self) -> None:
        service = self._service(type="LoadBalancer")
        condition = ServiceReady(service)
        condition.observe("ADDED", service, 0)
        condition.observe("ADDED", _endpoints(ready=1), 0)
        assert not condition.met(99)
        assert condition.reasons() == [
            "Service was not allocated an IP address; does your cloud provider support this?"
        ]
        status = {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}
        condition.observe(MODIFIED, service | {"status": status}, 0)
        assert condition.met(99)

    def test_missing_pods_are_the_reason(self) -> None:
        assert "does not target any Pods" in ServiceReady(self._service()).reasons()[0]


class TestIngresses:
    """An Ingress needs an address and Services behind its paths."""

    def _ingress(self, address: bool) -> dict[str, Any]:
        path = {"path": "/x", "backend": {"service": {"name": "web"}}}
        spec = {"rules": [{"host": "h", "http": {"paths": [path]}}]}
        status = {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}} if address else {}
        return make_object("Ingress", "networking.k8s.io/v1", spec=spec, status=status)

    def test_it_is_ready_with_both(self) -> None:
        condition = IngressReady(self._ingress(address=False))
        assert not condition.met(0)
        assert condition.wakes_at() == 60
        condition.observe("ADDED", make_object("Endpoints", metadata={"name": "web"}), 5)
        condition.observe(MODIFIED, self._ingress(address=True), 6)
        assert condition.met(6)

    def test_a_path_to_nowhere_is_tolerated_once_endpoints_have_settled(self) -> None:
        condition = IngressReady(self._ingress(address=True))
        assert not condition.met(0)
        assert condition.met(60)
        assert condition.warnings() == [
            'No matching service found for ingress rule: "h/x" -> "web"'
        ]

    def test_the_reasons(self) -> None:
        reasons = IngressReady(self._ingress(address=False)).reasons()
        assert "unavailable target endpoint" in reasons[0]
        assert "ingress controller" in reasons[1]


class TestDeletion:
    """An object is gone when it is not listed, deleted, or another one."""

    @pytest.mark.parametrize(
        ("event", "obj", "gone"),
        [
            ("LISTED", {"count": 0}, True),
            ("LISTED", {"count": 1}, False),
            ("DELETED", make_object("ConfigMap"), True),
            ("ADDED", make_object("ConfigMap"), False),
            ("ADDED", make_object("ConfigMap", metadata={"uid": "another"}), True),
            ("DELETED", make_object("ConfigMap", metadata={"name": "b"}), False),
        ],
    )
    def test_events(self, event: str, obj: dict[str, Any], gone: bool) -> None:
        condition = Deleted(make_object("ConfigMap"))
        condition.observe(event, obj, 0)
        assert condition.met(0) is gone

    def test_finalizers_are_the_reason(self) -> None:
        condition = Deleted(make_object("ConfigMap", metadata={"finalizers": ["a.b/c"]}))
        assert condition.reasons() == ["finalizers might be preventing deletion (a.b/c)"]


class TestWaitFor:
    """Conditions of one's own, in the annotation."""

    obj = make_object(
        "Thing",
        "example.com/v1",
        status={
            "phase": "Ready",
            "n": 3,
            "ok": True,
            "list": [{"a": "b"}],
            "conditions": make_conditions(Synced="True", Late="False"),
        },
    )

    @pytest.mark.parametrize(
        ("expression", "holds"),
        [
            ("jsonpath={.status.phase}", True),
            ("jsonpath={.status.phase}=Ready", True),
            ("jsonpath={.status.phase}=Other", False),
            ("jsonpath={.status.n}=3", True),
            ("jsonpath={.status.ok}=true", True),
            ("jsonpath={.status.list[0].a}=b", True),
            ("jsonpath={.status.list[7].a}", False),
            ("jsonpath={.status.missing}", False),
            ('jsonpath={.status.conditions[?(@.type=="Synced")].status}=True', True),
            ("condition=Synced", True),
            ("condition=synced=true", True),
            ("condition=Late", False),
            ("condition=Late=False", True),
            ('["condition=Synced", "jsonpath={.status.n}=3"]', True),
            ('["condition=Synced", "condition=Late"]', False),
        ],
    )
    def test_expressions(self, expression: str, holds: bool) -> None:
        test, _words = waited_for(expression)
        assert test(self.obj) is holds

    @pytest.mark.parametrize("wrong", ["", "ready", "jsonpath=.status", "jsonpath={.a..b}", "[]"])
    def test_what_cannot_be_read_is_refused(self, wrong: str) -> None:
        with pytest.raises(ValueError, match=r"pulumi.com/waitFor"):
            waited_for(wrong)

    def test_an_old_status_does_not_count(self) -> None:
        old = self.obj | {"status": {**self.obj["status"], "observedGeneration": 1}}
        assert not waited_for("condition=Synced")[0](old)


def _annotated(kind: str, version: str = "v1", **annotations: str) -> dict[str, Any]:
    keys = {f"pulumi.com/{key}": value for key, value in annotations.items()}
    return make_object(kind, version, metadata={"annotations": keys})


class TestChoice:
    """Which condition an object gets, and for how long."""

    @pytest.mark.parametrize(
        ("live", "expected"),
        [
            (_annotated("Deployment", "apps/v1"), DeploymentRolledOut),
            (_annotated("Service"), ServiceReady),
            (_annotated("Service", skipAwait="true"), None),
            (_annotated("Service", waitFor="condition=X"), FieldReady),
            (_annotated("ConfigMap"), None),
            (_annotated("Thing", "example.com/v1"), None),
            (_annotated("Secret"), None),
            (_annotated("Secret") | {"type": "kubernetes.io/service-account-token"}, FieldReady),
        ],
    )
    def test_the_condition(self, live: dict[str, Any], expected: type[Condition] | None) -> None:
        condition = condition_for(live, live, None, lambda _name: "")
        assert type(condition) is (expected or type(None))

    @pytest.mark.parametrize(
        ("phase", "mode", "previous", "met"),
        [
            ("Pending", "WaitForFirstConsumer", None, True),
            ("Pending", "Immediate", None, False),
            ("Bound", "Immediate", None, True),
            ("Bound", "WaitForFirstConsumer", {}, True),
        ],
    )
    def test_claims(self, phase: str, mode: str, previous: Any, met: bool) -> None:
        claim = make_object("PersistentVolumeClaim", spec={"storageClassName": "s"})
        claim["status"] = {"phase": phase}
        condition = condition_for(claim, claim, previous, lambda _name: mode)
        assert condition is not None
        assert condition.met(0) is met

    def test_a_refresh_judges_workloads_only(self) -> None:
        quota = make_object("ResourceQuota", spec={"hard": {"pods": "1"}})
        assert refresh_condition(quota, quota) is None
        job = make_object("Job", "batch/v1")
        assert isinstance(refresh_condition(job, job), JobComplete)

    @pytest.mark.parametrize(
        ("annotation", "custom", "expected"),
        [("", 0, 600), ("30", 0, 30), ("30", 5, 5), ("soon", 0, 600)],
    )
    def test_the_timeout(self, annotation: str, custom: float, expected: float) -> None:
        assert timeout(_annotated("Job", timeoutSeconds=annotation), custom) == expected


def test_selectors_are_written_as_queries() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["x", "y"]},
        {"key": "b", "operator": "Exists"},
        {"key": "c", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    assert selector_text(selector) == "app=web,a in (x,y),b,!c"


class _Nothing(Condition):
    """A condition nobody meets."""

    def observe(self, event: str, obj: dict[str, Any], now: float) -> None:
        """Ignore it."""

    def met(self, now: float) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def subjects(self) -> list[Any]:
        """Nothing is watched."""
        return []

    def reasons(self) -> list[str]:
        """Say something."""
        return ["nothing happened"]


class TestTheLoop:
    """A wait ends with its condition, its deadline or a cancellation."""

    def _waiting(self, cancellation: Cancellation) -> Waiting:
        unused: Any = None
        return Waiting(unused, unused, cancellation, lambda _message, _warning: None)

    def test_the_deadline(self) -> None:
        with pytest.raises(WaitError, match="'a' timed out waiting to be Ready") as caught:
            wait_for(_Nothing(make_object("Thing")), self._waiting(Cancellation()), 0.05)
        assert caught.value.reasons == ["nothing happened"]

    def test_a_cancellation_ends_it_at_once(self) -> None:
        cancellation = Cancellation()
        threading.Timer(0.1, cancellation.cancel).start()
        started = time.monotonic()
        with pytest.raises(WaitError, match="resource operation was cancelled for 'a'"):
            wait_for(_Nothing(make_object("Thing")), self._waiting(cancellation), 120)
        assert time.monotonic() - started < 60

    def test_after_a_cancellation_nothing_waits(self) -> None:
        cancellation = Cancellation()
        cancellation.cancel()
        with pytest.raises(WaitError, match="cancelled"):
            wait_for(_Nothing(make_object("Thing")), self._waiting(cancellation), 120)
