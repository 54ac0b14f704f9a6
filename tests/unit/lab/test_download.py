"""Releases come whole and verified, or not at all, from a site that is played here."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lab import download, releases
from lab.download import Refusal
from lab.progress import Step
from lab.releases import COREDNS, KUBERNETES, OF_PROVIDERS, PULUMI, Release
from lab.settings import GITHUB, KUBERNETES_SITE, LabSettings
from tests.unit.lab.release_site import Site, archive, running, whole

DOCKER = OF_PROVIDERS["docker"]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as it:
        yield it


@pytest.fixture
def near(lab: LabSettings, site: Site) -> LabSettings:
    """A lab whose release sites are the one played here."""
    return replace(lab, github=site.url, kubernetes_site=site.url)


def cached(lab: LabSettings) -> list[str]:
    """What the cache has of releases, whole or not."""
    root = lab.cache / "releases"
    return sorted(it.name for it in root.iterdir()) if root.exists() else []


def had(lab: LabSettings, *wanted: Release, stalled_after: float = 30) -> list[Refusal]:
    """Ask for releases and download them; return what cannot be had."""
    offers, refusals = download.reach(lab, wanted, within=30)
    return refusals + download.fetch(lab, offers, Step(""), stalled_after=stalled_after)


class TestWhole:
    """A site that is as it should be."""

    def test_has_every_release_unpacked_to_what_is_needed_of_it(
        self, near: LabSettings, site: Site
    ) -> None:
        wanted = [site.offer(near, it, whole(it)) for it in releases.ALL]
        assert had(near, *wanted) == []
        for release in wanted:
            assert releases.is_there(near, release)
            there = releases.directory(near, release)
            assert sorted(it.name for it in there.iterdir()) == sorted(release.needed)
            for name in release.needed:
                program = there / name
                assert program.read_text() == f"#!/bin/sh\necho {name}\n"
                assert program.stat().st_mode & 0o7777 == 0o755
        assert len(cached(near)) == len(releases.ALL), "and nothing half beside it"

    def test_is_counted_on_one_bar(self, near: LabSettings, site: Site) -> None:
        wanted = [site.offer(near, it, whole(it)) for it in (PULUMI, COREDNS)]
        offers, _ = download.reach(near, wanted, within=30)
        step = Step("")
        assert download.fetch(near, offers, step) == []
        size = sum(len(site.files[site.path(near, it)]) for it in wanted)
        assert (step.done, step.total) == (size, size)

    def test_may_lead_elsewhere(self, near: LabSettings, site: Site) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        for path in list(site.files):
            site.manners[path] = "move"
        assert had(near, docker) == []
        assert f"GET /moved{site.path(near, docker)}" in site.asked

    def test_is_asked_for_a_pinned_release_only_whether_it_is_there(
        self, near: LabSettings, site: Site
    ) -> None:
        kubernetes = site.offer(near, KUBERNETES, whole(KUBERNETES))
        offers, _ = download.reach(near, [kubernetes], within=30)
        assert site.asked == [f"HEAD {site.path(near, kubernetes)}"]
        assert [offer.digest for offer in offers] == [kubernetes.pin]

    def test_begins_again_once_what_was_cut(self, near: LabSettings, site: Site) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        site.manners[site.path(near, docker)] = "cut once"
        assert had(near, docker) == []
        assert site.asked.count(f"GET {site.path(near, docker)}") == 2

    def test_replaces_what_an_interrupted_download_left(
        self, near: LabSettings, site: Site
    ) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        target = releases.directory(near, docker)
        half = target.with_name(f"{target.name}.partial") / "programs"
        half.mkdir(parents=True)
        (half / "half").touch()
        target.with_name("pulumi-3.1.0-amd64.partial").mkdir()
        assert not releases.is_there(near, docker)
        assert had(near, docker) == []
        assert cached(near) == [target.name]
        assert os.listdir(target) == list(docker.needed)  # noqa: PTH208 - names are enough


class TestRefused:
    """Whatever is wrong with a site: nothing of it is in the cache, and it is said why."""

    @pytest.mark.parametrize(
        ("file", "manner", "why"),
        [
            ("checksums", "404", "pulumi-docker_5.2.0_checksums.txt: 404 Not Found"),
            ("archive", "404", "pulumi-resource-docker-v5.2.0-linux-"),
            ("archive", "503", "503 Service Unavailable"),
            ("archive", "cut", "the transfer was cut"),
            ("archive", "stall", "it answers nothing, or no more"),
        ],
    )
    def test_by_how_it_answers(
        self, near: LabSettings, site: Site, file: str, manner: str, why: str
    ) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        path = docker.published if file == "checksums" else docker.archive
        site.manners[site.path(near, docker, path)] = manner
        [refusal] = had(near, docker, stalled_after=0.5 if manner == "stall" else 30)
        assert refusal.release == docker
        assert refusal.why.startswith(f"127.0.0.1:{site.port}: ")
        assert why in refusal.why
        assert cached(near) == []

    def test_takes_no_other_along(self, near: LabSettings, site: Site) -> None:
        docker, dns = (site.offer(near, it, whole(it)) for it in (DOCKER, COREDNS))
        site.manners[site.path(near, docker)] = "cut"
        assert [it.release for it in had(near, docker, dns)] == [docker]
        assert cached(near) == [releases.directory(near, dns).name]

    def test_by_another_checksum_than_the_published_one(
        self, near: LabSettings, site: Site
    ) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        other = archive({docker.needed[0]: b"not what was published\n"})
        site.files[site.path(near, docker)] = other
        [refusal] = had(near, docker)
        assert f"sha256 checksum {hashlib.sha256(other).hexdigest()}" in refusal.why
        assert "not the published" in refusal.why
        assert cached(near) == []

    def test_by_another_checksum_than_the_pinned_one_whatever_it_publishes(
        self, near: LabSettings, site: Site
    ) -> None:
        site.offer(near, KUBERNETES, whole(KUBERNETES))
        [refusal] = had(near, KUBERNETES)
        pin = KUBERNETES.pin
        assert pin is not None
        assert refusal.why.endswith(f"not the pinned {pin.value}")
        assert cached(near) == []

    @pytest.mark.parametrize(
        ("members", "why"),
        [
            ({"README.md": b"no program\n"}, "holds no pulumi-resource-docker"),
            ({f"../{DOCKER.name}": b"outside\n"}, "holds no pulumi-resource-docker"),
            ({f"/{DOCKER.name}": b"outside\n"}, "holds no pulumi-resource-docker"),
        ],
    )
    def test_by_an_archive_without_what_is_needed(
        self, near: LabSettings, site: Site, members: dict[str, bytes], why: str
    ) -> None:
        docker = site.offer(near, DOCKER, archive(members))
        [refusal] = had(near, docker)
        assert why in refusal.why
        assert cached(near) == []
        assert not (near.cache / DOCKER.name).exists()

    def test_by_an_archive_whose_program_is_a_link(self, near: LabSettings, site: Site) -> None:
        link = tarfile.TarInfo()
        link.type, link.linkname = tarfile.SYMTYPE, "/bin/sh"
        docker = site.offer(near, DOCKER, archive({DOCKER.name: link}))
        [refusal] = had(near, docker)
        assert "holds no pulumi-resource-docker" in refusal.why

    def test_by_what_is_no_archive(self, near: LabSettings, site: Site) -> None:
        docker = site.offer(near, DOCKER, b"<html>please log in</html>")
        [refusal] = had(near, docker)
        assert "is no archive" in refusal.why
        assert cached(near) == []

    @pytest.mark.parametrize(
        "text", [b"<html>please log in</html>", b"", b"abc  other.tar.gz\n", b"x" * 1100000]
    )
    def test_by_a_list_of_checksums_that_is_none(
        self, near: LabSettings, site: Site, text: bytes
    ) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        site.files[site.path(near, docker, docker.published)] = text
        [refusal] = had(near, docker)
        assert "checksum" in refusal.why
        assert site.asked == [f"GET {site.path(near, docker, docker.published)}"]

    def test_by_the_time_that_all_of_it_may_take(self, near: LabSettings, site: Site) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        site.manners[site.path(near, docker)] = "stall"
        offers, _ = download.reach(near, [docker], within=30)
        [refusal] = download.fetch(near, offers, Step(""), at_most=0.5)
        assert "it was not done within 0.5 s" in refusal.why
        assert not releases.is_there(near, docker)

    def test_by_a_rate_that_would_take_longer_than_that(
        self, near: LabSettings, site: Site
    ) -> None:
        docker = site.offer(near, DOCKER, os.urandom(100_000))
        site.manners[site.path(near, docker)] = "drip"
        offers, _ = download.reach(near, [docker], within=30)
        [refusal] = download.fetch(near, offers, Step(""), judged_after=0.3)
        assert "too slow: 0 of 0 MiB within " in refusal.why
        assert not releases.is_there(near, docker)

    def test_a_full_disk_is_no_fault_of_the_sites(
        self, near: LabSettings, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        docker = site.offer(near, DOCKER, whole(DOCKER))
        offers, _ = download.reach(near, [docker], within=30)

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(OSError, match="No space left"):
            download.fetch(near, offers, Step(""))
        monkeypatch.undo()
        assert cached(near) == []

    def test_by_being_led_from_encryption_to_none(self) -> None:
        request = httpx.Request("GET", "http://elsewhere.example/file")
        response = httpx.Response(200, request=request)
        with pytest.raises(Exception, match=r"leads to http://elsewhere\.example"):
            download._check(response, "https://github.com/file")


class TestNoWayOut:
    """A network that lets nothing out is noticed at once, and nothing is written."""

    def test_where_nobody_answers(self, near: LabSettings, site: Site) -> None:
        wanted = [site.offer(near, it, whole(it)) for it in (PULUMI, KUBERNETES)]
        for release in wanted:
            path = release.archive if release.pin else release.published
            site.manners[site.path(near, release, path)] = "silence"
        offers, refusals = download.reach(near, wanted, within=0.3)
        assert offers == []
        assert [it.release for it in refusals] == wanted
        assert all("answer" in it.why for it in refusals)
        assert cached(near) == []

    def test_where_the_connection_is_refused(self, lab: LabSettings) -> None:
        with running() as gone:
            url = gone.url
        there = replace(lab, github=url, kubernetes_site=url)
        offers, refusals = download.reach(there, [PULUMI, KUBERNETES], within=30)
        assert offers == []
        assert ["refused" in it.why for it in refusals] == [True, True]

    def test_where_the_name_leads_nowhere(self, lab: LabSettings) -> None:
        there = replace(lab, github="https://releases.invalid")
        offers, [refusal] = download.reach(there, [PULUMI])
        assert offers == []
        assert refusal.why.startswith("releases.invalid: ")

    def test_where_the_proxy_forbids_it(
        self, lab: LabSettings, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", site.url)
        assert (lab.github, lab.kubernetes_site) == (GITHUB, KUBERNETES_SITE)
        offers, refusals = download.reach(lab, [PULUMI, KUBERNETES], within=30)
        assert offers == []
        assert [it.why for it in refusals] == [
            "github.com: the proxy refuses (403 Forbidden)",
            "dl.k8s.io: the proxy refuses (403 Forbidden)",
        ]
        assert sorted(site.asked) == ["CONNECT dl.k8s.io:443", "CONNECT github.com:443"]

    def test_nothing_is_asked_for_nothing(self, lab: LabSettings) -> None:
        assert download.reach(lab, []) == ([], [])
