"""What is known of official releases: their addresses, checksums and place in the cache."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab import cluster, images, releases
from lab.image_archive import ARCHITECTURES, architecture
from lab.releases import COREDNS, KUBERNETES, PROVIDERS, PULUMI, Digest
from lab.settings import LabSettings
from lab.toolchain import (
    COREDNS_VERSION,
    KUBE,
    KUBE_PROGRAMS,
    KUBERNETES_VERSION,
    PULUMI_VERSION,
    Toolchain,
)

ROOT = Path(__file__).resolve().parents[3]
SHA1, SHA256, SHA512 = "a" * 40, "0b" * 32, "C" * 128
FILE = "pulumi-v1-linux-x64.tar.gz"


class TestVersions:
    """What is downloaded is what would be built, and what the program asks for."""

    @pytest.mark.parametrize(
        ("module", "required", "version"),
        [
            ("pulumi", "github.com/pulumi/pulumi/pkg/v3", PULUMI_VERSION),
            ("kubernetes", "k8s.io/kubernetes", KUBERNETES_VERSION),
            ("kubernetes", "github.com/coredns/coredns", COREDNS_VERSION),
        ],
    )
    def test_of_tools_are_those_of_their_modules(
        self, module: str, required: str, version: str
    ) -> None:
        text = (ROOT / "lab" / "tools" / module / "go.mod").read_text()
        [found] = re.findall(rf"^\s*(?:require )?{re.escape(required)} v(\S+)", text, re.M)
        assert found == version

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_of_providers_are_those_of_their_packages(self, provider: str) -> None:
        text = (ROOT / "requirements.txt").read_text()
        assert f"pulumi-{provider}=={PROVIDERS[provider]} " in text


class TestAddresses:
    """Where things are published."""

    def test_are_those_of_this_machines_architecture(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(releases, "architecture", lambda: "amd64")
        github, kubernetes = "https://github.com", "https://dl.k8s.io"
        cli, dns = f"v{PULUMI_VERSION}", COREDNS_VERSION
        providers = [
            f"{github}/pulumi/pulumi-{name}/releases/download/v{version}/"
            f"pulumi-resource-{name}-v{version}-linux-amd64.tar.gz"
            for name, version in PROVIDERS.items()
        ]
        assert [it.url(lab, it.archive) for it in releases.ALL] == [
            f"{github}/pulumi/pulumi/releases/download/{cli}/pulumi-{cli}-linux-x64.tar.gz",
            f"{kubernetes}/v{KUBERNETES_VERSION}/kubernetes-server-linux-amd64.tar.gz",
            f"{github}/coredns/coredns/releases/download/v{dns}/coredns_{dns}_linux_amd64.tgz",
            *providers,
        ]
        assert PULUMI.file == f"pulumi-{cli}-linux-x64.tar.gz"
        monkeypatch.setattr(releases, "architecture", lambda: "arm64")
        assert all("arm64" in it.url(lab, it.archive) for it in releases.ALL)

    def test_follow_the_settings(self, lab: LabSettings) -> None:
        there = replace(lab, github="https://a.example/gh", kubernetes_site="https://b.example")
        assert PULUMI.url(there, "x") == "https://a.example/gh/x"
        assert KUBERNETES.url(there, "x") == "https://b.example/x"

    @pytest.mark.parametrize("name", ARCHITECTURES.values())
    def test_have_a_checksum_each_pinned_or_published(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(releases, "architecture", lambda: name)
        for release in releases.ALL:
            assert bool(release.pin) is not bool(release.published)
        pin = KUBERNETES.pin
        assert pin is not None
        assert pin.algorithm == "sha512"


class TestChecksums:
    """Lists of checksums come in several forms."""

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            (f"{SHA256}  {FILE}\n", Digest("sha256", SHA256)),
            (f"{SHA1}  ./other\n{SHA1}  ./{FILE}\n", Digest("sha1", SHA1)),
            (f"{SHA512} *release/{FILE}\n", Digest("sha512", SHA512.lower())),
            (f"\n{SHA256}\n", Digest("sha256", SHA256)),
            (f"{SHA256}  {FILE}.sig\n{SHA1}  {FILE}\n", Digest("sha1", SHA1)),
            (f"{SHA256}  x{FILE}\n", None),
            (f"{SHA256[:-1]}  {FILE}\n", None),
            (f"{'g' * 64}  {FILE}\n", None),
            ("<html>\n", None),
            ("", None),
        ],
    )
    def test_are_read(self, text: str, found: Digest | None) -> None:
        assert releases.published_digest(text, FILE) == found


class TestTools:
    """The lab runs what it downloaded, unless it was told to build."""

    @pytest.fixture
    def cached(self, lab: LabSettings) -> LabSettings:
        """Kubernetes and CoreDNS downloaded, and their modules in the checkout."""
        for release in (KUBERNETES, COREDNS):
            for name in release.needed:
                program = releases.directory(lab, release) / name
                program.parent.mkdir(parents=True, exist_ok=True)
                program.touch()
        (lab.checkout / "lab" / "tools" / KUBE.module).mkdir(parents=True)
        return lab

    def test_are_linked_each_under_its_name(self, cached: LabSettings) -> None:
        place = cluster.programs(cached)
        there = releases.directory(cached, KUBERNETES)
        for name in KUBE_PROGRAMS:
            assert (place / name).readlink() == there / name
        assert there.name == f"kubernetes-{KUBERNETES_VERSION}-{architecture()}"
        releases.build_tools(cached, forced=True)
        built = Toolchain(cached).path(KUBE)
        assert {(cluster.programs(cached) / it).readlink() for it in KUBE_PROGRAMS} == {built}

    def test_give_the_image_of_coredns_a_name_of_its_own(self, cached: LabSettings) -> None:
        assert images.coredns_image(cached) == f"aegis.lab/coredns:v{COREDNS_VERSION}"
        releases.build_tools(cached, forced=True)
        assert COREDNS_VERSION not in images.coredns_image(cached)

    def test_are_not_there_until_all_that_is_needed_is(self, cached: LabSettings) -> None:
        assert releases.is_there(cached, KUBERNETES)
        (releases.directory(cached, KUBERNETES) / "kubelet").unlink()
        assert not releases.is_there(cached, KUBERNETES)
