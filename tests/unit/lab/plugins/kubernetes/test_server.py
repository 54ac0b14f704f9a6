"""The provider's calls, with the official client against an API server over HTTP."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.plugins.kubernetes.server import Provider
from lab.plugins.properties import UNKNOWN, Secret, decode, encode
from lab.plugins.protocol import Engine, light_pulumi
from tests.unit.lab.plugins.kubernetes.fake_api import FakeApi
from tests.unit.lab.plugins.rpc_context import AbortedError, RecordingContext, context

with light_pulumi():
    from pulumi.runtime.proto import provider_pb2, status_pb2

_KINDS = {"ConfigMap": "core/v1", "Secret": "core/v1", "Namespace": "core/v1", "Job": "batch/v1"}


class _Call(RecordingContext):
    """A call's context that also keeps the message and the details of an abort."""

    def __init__(self) -> None:
        super().__init__()
        self.message = ""
        self.status: Any = None

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Read the status that comes before an abort."""
        self.status = status_pb2.Status.FromString(dict(metadata)["grpc-status-details-bin"])

    def abort(self, code: grpc.StatusCode, message: str) -> None:
        """Keep the message too."""
        self.message = message
        super().abort(code, message)

    def init_failure(self) -> Any:
        """Return the ErrorResourceInitFailed among the details."""
        failure = provider_pb2.ErrorResourceInitFailed()
        assert self.status.details[0].Unpack(failure)
        return failure


def _urn(kind: str) -> str:
    return f"urn:pulumi:dev::project::kubernetes:{_KINDS[kind]}:{kind}::web"


def _inputs(kind: str = "ConfigMap", **fields: Any) -> dict[str, Any]:
    version = _KINDS[kind].removeprefix("core/")
    metadata = {"name": "a", "namespace": "team"} | fields.pop("metadata", {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def provider(api: FakeApi) -> Iterator[Provider]:
    made = Provider(Engine(""))
    _configure(made, kubeconfig=api.kubeconfig())
    yield made
    made.stop()


def _configure(provider: Provider, **settings: str) -> Any:
    variables = {f"kubernetes:config:{key}": value for key, value in settings.items()}
    return provider.Configure(provider_pb2.ConfigureRequest(variables=variables), context())


def _create(provider: Provider, inputs: dict[str, Any], **more: Any) -> Any:
    request = provider_pb2.CreateRequest(
        urn=_urn(inputs["kind"]), properties=encode(inputs), **more
    )
    return provider.Create(request, context())


class TestCreation:
    """Creation is a POST; the outputs are what the server answered."""

    def test_it_posts_and_remembers(self, api: FakeApi, provider: Provider) -> None:
        response = _create(provider, _inputs(data={"k": "v"}))
        outputs = decode(response.properties)
        assert response.id == "team/a"
        assert outputs["metadata"]["uid"] == "u"
        assert outputs["__inputs"] == _inputs(data={"k": "v"})
        assert outputs["__fieldManager"].startswith("pulumi-kubernetes-")
        assert api.requests == [
            "POST /api/v1/namespaces/team/configmaps?fieldManager=pulumi-kubernetes"
        ]

    def test_a_preview_pretends(self, api: FakeApi, provider: Provider) -> None:
        response = _create(provider, _inputs(data={}), preview=True)
        assert response.id == ""
        assert decode(response.properties)["metadata"]["uid"] == "u"
        assert api.objects == {}
        assert "dryRun=All" in api.requests[0]

    @pytest.mark.parametrize(
        "inputs", [_inputs(data={"k": UNKNOWN}), _inputs("Job") | {"kind": "Thing"}]
    )
    def test_a_preview_of_the_unknown_asks_nobody(
        self, api: FakeApi, provider: Provider, inputs: dict[str, Any]
    ) -> None:
        request = provider_pb2.CreateRequest(
            urn=_urn("ConfigMap"), properties=encode(inputs), preview=True
        )
        assert decode(provider.Create(request, context()).properties) == inputs
        assert api.requests == []

    def test_a_preview_of_what_exists_is_no_error(self, api: FakeApi, provider: Provider) -> None:
        api.objects["/api/v1/namespaces/team/configmaps/a"] = {}
        response = _create(provider, _inputs(), preview=True)
        assert decode(response.properties) == _inputs()

    def test_a_secret_stays_secret(self, api: FakeApi, provider: Provider) -> None:
        data = {"p": base64.b64encode(b"hunter2").decode()}
        outputs = decode(_create(provider, _inputs("Secret", data=Secret(data))).properties)
        assert outputs["data"] == Secret(data)
        assert outputs["__inputs"]["data"] == Secret(data)
        assert api.objects["/api/v1/namespaces/team/secrets/a"]["data"] == data

    def test_a_refusal_has_a_code_and_no_secret(self, api: FakeApi, provider: Provider) -> None:
        api.refusals["/api/v1/namespaces/team/secrets"] = (422, "Invalid", "bad: hunter2")
        recording = _Call()
        data = {"p": base64.b64encode(b"hunter2").decode()}
        request = provider_pb2.CreateRequest(
            urn=_urn("Secret"), properties=encode(_inputs("Secret", data=Secret(data)))
        )
        with pytest.raises(AbortedError):
            provider.Create(request, recording)
        assert recording.code is grpc.StatusCode.INVALID_ARGUMENT
        assert recording.message == "cannot create Secret team/a: bad: [secret]"

    def test_cluster_wide_objects_have_no_namespace(self, provider: Provider) -> None:
        inputs = _inputs("Namespace")
        del inputs["metadata"]["namespace"]
        assert _create(provider, inputs).id == "a"


class TestWaiting:
    """A creation that does not become ready is kept, with its reasons."""

    def _fail(self, provider: Provider, recording: _Call, **more: Any) -> Any:
        request = provider_pb2.CreateRequest(
            urn=_urn("Job"), properties=encode(_inputs("Job")), **more
        )
        with pytest.raises(AbortedError):
            provider.Create(request, recording)
        assert recording.code is grpc.StatusCode.UNKNOWN

    def test_a_timeout_leaves_the_object_in_the_state(self, provider: Provider) -> None:
        recording = _Call()
        self._fail(provider, recording, timeout=0.2)
        assert "Job team/a was created, but is not ready: 'a' timed out" in recording.message
        failure = recording.init_failure()
        assert failure.id == "team/a"
        assert decode(failure.properties)["__inputs"] == _inputs("Job")
        assert list(failure.reasons) == [
            recording.message,
            'Waiting for Job "team/a" to succeed (Active: 0 | Succeeded: 0 | Failed: 0)',
        ]

    def test_a_cancellation_ends_it_at_once(self, provider: Provider) -> None:
        from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped,unused-ignore]

        recording = _Call()
        timer = threading.Timer(0.3, lambda: provider.Cancel(Empty(), context()))
        timer.start()
        started = time.monotonic()
        self._fail(provider, recording, timeout=120)
        assert time.monotonic() - started < 60
        assert "cancelled" in recording.message


def _state(provider: Provider, inputs: dict[str, Any]) -> Any:
    return _create(provider, inputs).properties


class TestChanges:
    """Diff asks nobody; Update applies; Delete is content when nothing is left."""

    def test_an_unchanged_resource_is_compared_without_the_server(
        self, api: FakeApi, provider: Provider
    ) -> None:
        state = _state(provider, _inputs(data={"k": "v"}))
        api.requests.clear()
        request = provider_pb2.DiffRequest(
            urn=_urn("ConfigMap"), olds=state, news=encode(_inputs(data={"k": "v"}))
        )
        response = provider.Diff(request, context())
        assert response.changes == provider_pb2.DiffResponse.DIFF_NONE
        assert api.requests == []

    def test_a_replacement_is_named(self, provider: Provider) -> None:
        state = _state(provider, _inputs(data={"k": "v"}))
        request = provider_pb2.DiffRequest(
            urn=_urn("ConfigMap"), olds=state, news=encode(_inputs(data={"k": "w"}))
        )
        response = provider.Diff(request, context())
        assert list(response.replaces) == ["data.k"]
        assert response.deleteBeforeReplace
        kind = response.detailedDiff["data.k"].kind
        assert kind == provider_pb2.PropertyDiff.UPDATE_REPLACE

    @pytest.mark.parametrize("autonamed", ["true", "false"])
    def test_a_job_that_is_not_done_frees_its_name_before_it_is_made_again(
        self, provider: Provider, autonamed: str
    ) -> None:
        annotations = {
            "pulumi.com/replaceUnready": "true",
            "pulumi.com/skipAwait": "true",
            "pulumi.com/autonamed": autonamed,
        }
        inputs = _inputs("Job", metadata={"annotations": annotations})
        request = provider_pb2.DiffRequest(
            urn=_urn("Job"), olds=_state(provider, inputs), news=encode(inputs)
        )
        response = provider.Diff(request, context())
        assert response.changes == provider_pb2.DiffResponse.DIFF_SOME
        assert list(response.replaces) == ['.metadata.annotations["pulumi.com/replaceUnready"]']
        assert response.deleteBeforeReplace is (autonamed == "false")

    def test_an_update_applies_as_the_remembered_manager(
        self, api: FakeApi, provider: Provider
    ) -> None:
        state = _state(provider, _inputs(metadata={"labels": {"a": "1"}}))
        manager = decode(state)["__fieldManager"]
        api.requests.clear()
        new = _inputs(metadata={"labels": {"a": "2"}})
        request = provider_pb2.UpdateRequest(
            id="team/a", urn=_urn("ConfigMap"), olds=state, news=encode(new)
        )
        outputs = decode(provider.Update(request, context()).properties)
        assert outputs["metadata"]["labels"] == {"a": "2"}
        assert outputs["__fieldManager"] == manager
        path = "/api/v1/namespaces/team/configmaps/a"
        # The fake keeps no managed fields, and a live object without any is taken over.
        assert api.requests == [
            f"GET {path}",
            f"PATCH {path}?fieldManager={manager}&force=true",
        ]

    def test_a_refused_update_keeps_the_live_object(self, api: FakeApi, provider: Provider) -> None:
        state = _state(provider, _inputs())
        path = "/api/v1/namespaces/team/configmaps/a"
        live = api.objects.pop(path)
        recording = _Call()
        request = provider_pb2.UpdateRequest(
            id="team/a", urn=_urn("ConfigMap"), olds=state, news=encode(_inputs())
        )
        with pytest.raises(AbortedError):
            provider.Update(request, recording)
        assert recording.code is grpc.StatusCode.NOT_FOUND
        api.objects[path] = live

    def test_reading_finds_drift_and_absence(self, api: FakeApi, provider: Provider) -> None:
        inputs = _inputs(data={"k": "v"})
        request = provider_pb2.ReadRequest(
            id="team/a",
            urn=_urn("ConfigMap"),
            properties=_state(provider, inputs),
            inputs=encode(inputs),
        )
        path = "/api/v1/namespaces/team/configmaps/a"
        api.objects[path]["data"] = {"k": "drifted", "other": "x"}
        assert decode(provider.Read(request, context()).inputs)["data"] == {"k": "drifted"}
        del api.objects[path]
        assert provider.Read(request, context()).id == ""

    def test_an_import_takes_everything_but_the_server_s_own_fields(
        self, provider: Provider
    ) -> None:
        _create(provider, _inputs(data={"k": "v"}))
        request = provider_pb2.ReadRequest(id="team/a", urn=_urn("ConfigMap"))
        response = provider.Read(request, context())
        assert decode(response.inputs) == _inputs(data={"k": "v"})

    def test_deleting_twice_is_fine(self, api: FakeApi, provider: Provider) -> None:
        request = provider_pb2.DeleteRequest(
            id="team/a", urn=_urn("ConfigMap"), properties=_state(provider, _inputs())
        )
        for _ in range(2):
            provider.Delete(request, context())
        assert api.objects == {}


class TestConfiguration:
    """What the provider says of itself, and of a cluster that is not there."""

    def test_it_takes_secrets_and_previews(self) -> None:
        response = _configure(Provider(Engine("")), kubeconfig="/no/such/file")
        assert response.acceptSecrets
        assert response.supportsPreview

    def test_credentials_are_removed_at_the_end(self, provider: Provider, tmp_path: Path) -> None:
        _create(provider, _inputs())
        assert list(tmp_path.iterdir())
        provider.stop()
        assert list(tmp_path.iterdir()) == []

    def test_an_unreachable_cluster_is_named_once_in_full(self) -> None:
        unreachable = FakeApi()
        unreachable.close()
        provider = Provider(Engine(""))
        _configure(provider, kubeconfig=unreachable.kubeconfig())
        messages = []
        for _ in range(2):
            recording = _Call()
            request = provider_pb2.CreateRequest(
                urn=_urn("ConfigMap"), properties=encode(_inputs())
            )
            with pytest.raises(AbortedError):
                provider.Create(request, recording)
            assert recording.code is grpc.StatusCode.UNAVAILABLE
            messages.append(recording.message)
        said = f"the Kubernetes API server at {unreachable.url} does not answer: connection refused"
        assert messages[0].startswith(f"cannot create ConfigMap team/a: {said}. Check that")
        assert messages[1] == f"cannot create ConfigMap team/a: {said}"
        request = provider_pb2.CreateRequest(
            urn=_urn("ConfigMap"), properties=encode(_inputs()), preview=True
        )
        assert decode(provider.Create(request, context()).properties) == _inputs()
        provider.stop()

    def test_calls_before_configuration_are_refused(self) -> None:
        recording = _Call()
        with pytest.raises(AbortedError):
            Provider(Engine("")).Check(provider_pb2.CheckRequest(), recording)
        assert recording.code is grpc.StatusCode.FAILED_PRECONDITION

    @pytest.mark.parametrize(
        ("token", "code"),
        [
            ("kubernetes:helm:template", grpc.StatusCode.UNIMPLEMENTED),
            ("kubernetes:yaml:decode", grpc.StatusCode.INVALID_ARGUMENT),
        ],
    )
    def test_functions_it_cannot_do_are_refused(self, token: str, code: grpc.StatusCode) -> None:
        recording = _Call()
        request = provider_pb2.InvokeRequest(tok=token, args=encode({}))
        with pytest.raises(AbortedError):
            Provider(Engine("")).Invoke(request, recording)
        assert recording.code is code

    def test_yaml_is_decoded(self) -> None:
        text = "{kind: ConfigMap, apiVersion: v1}\n---\n{kind: Namespace, apiVersion: v1}\n"
        request = provider_pb2.InvokeRequest(
            tok="kubernetes:yaml:decode", args=encode({"text": text, "defaultNamespace": "team"})
        )
        response = Provider(Engine("")).Invoke(request, context())
        result = decode(getattr(response, "return"))["result"]
        assert [item["kind"] for item in result] == ["ConfigMap", "Namespace"]
        assert result[0]["metadata"] == {"namespace": "team"}
