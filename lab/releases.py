"""Which official releases the lab can run, where they are published, and where the cache has them.

All addresses of release sites are here. Downloads nothing: that is `lab.download`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lab.image_archive import architecture
from lab.settings import LabSettings
from lab.toolchain import COREDNS_VERSION, KUBE_PROGRAMS, KUBERNETES_VERSION, PULUMI_VERSION

PROVIDERS = {"kubernetes": "4.32.0", "docker": "5.2.0"}
"""Provider -> version: that of the Python packages in requirements.txt, as the engine asks."""

_ALGORITHMS = {40: "sha1", 64: "sha256", 128: "sha512"}
"""Length of a checksum in hexadecimal digits -> its algorithm."""


@dataclass(frozen=True)
class Digest:
    """A checksum.

    Attributes:
        algorithm: As :mod:`hashlib` calls it.
        value: In hexadecimal digits.
    """

    algorithm: str
    value: str

    @classmethod
    def of(cls, value: str) -> Digest | None:
        """Return the checksum that hexadecimal digits are by their number, if they are one."""
        algorithm = _ALGORITHMS.get(len(value))
        if algorithm is None or re.fullmatch("[0-9a-fA-F]+", value) is None:
            return None
        return cls(algorithm, value.lower())


@dataclass(frozen=True, kw_only=True)
class Release:
    """An archive that somebody publishes.

    Attributes:
        name: What it is, for people and for the cache.
        version: Its version.
        site: Which of the settings' sites it is on: "github" or "kubernetes".
        archive: Its address below the site, with "{arch}".
        published: The address of the file of checksums below the site, with "{arch}"; "" where
            the checksum is `pinned` instead.
        members: A pattern of the files in it that are taken, each under its last name.
        needed: The last names of those that must be there.
        architectures: How it calls amd64 and arm64.
        pinned: Architecture -> the checksum, where the project publishes it in its repository.
    """

    name: str
    version: str
    site: str
    archive: str
    published: str = ""
    members: str
    needed: tuple[str, ...]
    architectures: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash by what the cache knows it by."""
        return hash((self.name, self.version))

    def base(self, settings: LabSettings) -> str:
        """Return the site that it is on, as set."""
        return settings.github if self.site == "github" else settings.kubernetes_site

    def url(self, settings: LabSettings, path: str) -> str:
        """Return the address of one of its files."""
        return f"{self.base(settings)}/{path.format(arch=self._arch())}"

    @property
    def file(self) -> str:
        """The archive's file name."""
        return PurePosixPath(self.archive.format(arch=self._arch())).name

    @property
    def pin(self) -> Digest | None:
        """The checksum that is pinned here, for this machine's architecture."""
        return Digest.of(self.pinned.get(architecture(), ""))

    def _arch(self) -> str:
        return self.architectures.get(architecture(), architecture())


def _of_pulumi(name: str, version: str) -> Release:
    """Return a provider's release; the program lies at the archive's top."""
    program, base = f"pulumi-resource-{name}", f"pulumi/pulumi-{name}/releases/download/v{version}"
    return Release(
        name=program,
        version=version,
        site="github",
        archive=f"{base}/{program}-v{version}-linux-{{arch}}.tar.gz",
        published=f"{base}/pulumi-{name}_{version}_checksums.txt",
        members=re.escape(program),
        needed=(program,),
    )


_CLI = f"pulumi/pulumi/releases/download/v{PULUMI_VERSION}"
PULUMI = Release(
    name="pulumi",
    version=PULUMI_VERSION,
    site="github",
    archive=f"{_CLI}/pulumi-v{PULUMI_VERSION}-linux-{{arch}}.tar.gz",
    published=f"{_CLI}/pulumi-{PULUMI_VERSION}-checksums.txt",
    members=r"pulumi/pulumi(-[a-z0-9-]+)?",
    needed=("pulumi", "pulumi-language-python", "pulumi-language-python-exec"),
    architectures={"amd64": "x64"},
)
"""The CLI with its language hosts."""

KUBERNETES = Release(
    name="kubernetes",
    version=KUBERNETES_VERSION,
    site="kubernetes",
    archive=f"v{KUBERNETES_VERSION}/kubernetes-server-linux-{{arch}}.tar.gz",
    members=rf"kubernetes/server/bin/({'|'.join(KUBE_PROGRAMS)})",
    needed=KUBE_PROGRAMS,
    # CHANGELOG/CHANGELOG-1.35.md of kubernetes/kubernetes, "Downloads for v1.35.4".
    pinned={
        "amd64": "7454c2d9023de3230972e965e1e2a587a291e2a1abee703bb0737057e1646b23"
        "ebac538b93dd778e93579e3c293dc1fa8d002e6848ad5ebc01598bc47358fe44",
        "arm64": "67187a2fe780be7816f9d10e082ed02cbba306bab379980280d00ba4c4017ff5"
        "3c50cd2ff81d248c91ddcc064276b8760e17c73a1a7da1d35067a6fc0ffbdc88",
    },
)

_DNS = f"coredns/coredns/releases/download/v{COREDNS_VERSION}"
COREDNS = Release(
    name="coredns",
    version=COREDNS_VERSION,
    site="github",
    archive=f"{_DNS}/coredns_{COREDNS_VERSION}_linux_{{arch}}.tgz",
    published=f"{_DNS}/coredns_{COREDNS_VERSION}_linux_{{arch}}.tgz.sha256",
    members="coredns",
    needed=("coredns",),
)

OF_PROVIDERS = {name: _of_pulumi(name, version) for name, version in PROVIDERS.items()}
"""Provider -> its release."""
ALL = (PULUMI, KUBERNETES, COREDNS, *OF_PROVIDERS.values())


def published_digest(text: str, file: str) -> Digest | None:
    """Return a file's checksum out of what is published; None when it is not there.

    Args:
        text: Lines of a checksum and a file's name, or a checksum alone.
        file: The file's name, without directories.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if len(rows) == 1 and len(rows[0]) == 1:
        return Digest.of(rows[0][0])
    for row in rows:
        if len(row) == 2 and PurePosixPath(row[1].removeprefix("*")).name == file:  # noqa: PLR2004
            return Digest.of(row[0])
    return None


def directory(settings: LabSettings, release: Release) -> Path:
    """Return where the cache has a release's programs, whether they are there or not."""
    name = f"{release.name}-{release.version}-{architecture()}"
    return settings.cache / "releases" / name


def program(settings: LabSettings, release: Release, name: str) -> Path | None:
    """Return an official program, if the cache has it.

    Args:
        settings: The lab.
        release: What it is part of.
        name: The program's name.
    """
    found = directory(settings, release) / name
    return found if found.is_file() else None


def is_there(settings: LabSettings, release: Release) -> bool:
    """Return whether the cache has all of a release that is needed."""
    return all(program(settings, release, name) for name in release.needed)


def _note(settings: LabSettings) -> Path:
    return settings.state / "tools-built"


def build_tools(settings: LabSettings, *, forced: bool) -> None:
    """Note in the lab's state whether its tools are to be built ones whatever the cache has.

    Every command of the lab has to name the same programs as the `up` before it.
    """
    if forced:
        _note(settings).touch()
    else:
        _note(settings).unlink(missing_ok=True)


def builds_tools(settings: LabSettings) -> bool:
    """Return whether the lab was brought up with `tools=build`."""
    return _note(settings).exists()


def tool(settings: LabSettings, release: Release, name: str) -> Path | None:
    """Return the official program that the lab runs as a tool; None where it runs a built one.

    Args:
        settings: The lab.
        release: What it is part of.
        name: The program's name.
    """
    return None if builds_tools(settings) else program(settings, release, name)
