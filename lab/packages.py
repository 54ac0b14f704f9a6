"""Debian packages: what the lab installs, and what it only unpacks.

Daemons (containerd, Docker, etcd, the registry) are unpacked into the cache and never
installed: installing them would start services on the machine, and could replace a Docker
that is there. Plain tools without a service are installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from lab.command import run
from lab.errors import refused
from lab.settings import LabSettings

INSTALLED = {
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "busybox": "busybox-static",
}
"""Program looked for -> package installed when it is missing."""

LIBRARIES = {
    "libseccomp.so.2": "libseccomp2",
    "libdevmapper.so.1.02.1": "libdevmapper1.02.1",
}
"""Shared library that an unpacked daemon links -> package installed when it is missing."""

UNPACKED = (
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "docker.io",
    "etcd-server",
    "runc",
)


BROWSER = "chromium"
"""What the tests open reports with. The lab itself needs none, so that `make up` installs none."""


def browser() -> None:
    """Install the browser of the tests, unless it is there.

    Raises:
        LabError: This machine has no apt-get, or that failed.
    """
    if not _on_path(BROWSER):
        require_apt()
        install([BROWSER])


def missing() -> list[str]:
    """Return the packages that have to be installed on this machine."""
    programs = [package for program, package in INSTALLED.items() if not _on_path(program)]
    known = run(["ldconfig", "-p"], what="list the shared libraries")
    libraries = [package for name, package in LIBRARIES.items() if name not in known]
    return sorted(programs + libraries)


def _on_path(program: str) -> bool:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def unpacked_root(settings: LabSettings) -> Path:
    """Return the directory below which the unpacked packages lie, keyed by their names."""
    key = hashlib.sha256(" ".join(UNPACKED).encode()).hexdigest()[:12]
    return settings.cache / "debian" / key


def is_unpacked(settings: LabSettings) -> bool:
    """Return whether all of `UNPACKED` lie in the cache."""
    return unpacked_root(settings).is_dir()


def require_apt() -> None:
    """Check that this is a Debian or a relative of it.

    Raises:
        LabError: There is no apt-get.
    """
    if not _on_path("apt-get"):
        raise refused(
            "the lab needs a Debian or Ubuntu machine",
            "apt-get is not installed; containerd, runc, etcd, Docker come from its packages",
            "use such a machine, or your own cluster with plain `pulumi up` (see README)",
        )


def install(names: list[str]) -> None:
    """Install packages from the machine's own package source.

    Args:
        names: Package names, for example from `missing`.

    Raises:
        LabError: apt-get failed.
    """
    if not names:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _update_lists(environment)
    run(
        ["apt-get", "install", "--yes", "--no-install-recommends", *names],
        what=f"install {', '.join(names)}",
        env=environment,
        timeout=600,
    )


def unpack(settings: LabSettings) -> None:
    """Download and unpack the daemons' packages into the cache, unless they are there.

    Raises:
        LabError: A package cannot be had or the disk is full; the cache keeps no half of it.
    """
    if is_unpacked(settings):
        return
    target = unpacked_root(settings)
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "archives").mkdir(parents=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _update_lists(environment)
    run(
        # apt's sandbox user cannot write below a home directory; root is what it falls back to.
        ["apt-get", "-o", "APT::Sandbox::User=root", "download", *UNPACKED],
        what="download the daemons' Debian packages",
        cwd=partial / "archives",
        timeout=600,
        env=environment,
    )
    for archive in sorted((partial / "archives").glob("*.deb")):
        run(["dpkg-deb", "--extract", archive, partial], what=f"unpack {archive.name}")
    shutil.rmtree(partial / "archives")
    partial.rename(target)


def _update_lists(environment: dict[str, str]) -> None:
    run(["apt-get", "update", "-qq"], what="read the package lists", env=environment, timeout=300)


def program(settings: LabSettings, name: str) -> str:
    """Return the path of an unpacked program, for example "containerd".

    Raises:
        LabError: No unpacked package holds it.
    """
    root = unpacked_root(settings)
    for directory in ("usr/bin", "usr/sbin"):
        candidate = root / directory / name
        if candidate.exists():
            return str(candidate)
    raise refused(f"{name} is not in the cache", f"looked below {root}", "make up")


def search_path(settings: LabSettings) -> str:
    """Return the PATH that the daemons get: the unpacked programs, then the machine's."""
    root = unpacked_root(settings)
    return f"{root}/usr/bin:{root}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def cni_plugins(settings: LabSettings) -> Path:
    """Return the directory of the CNI plugins."""
    return unpacked_root(settings) / "usr" / "lib" / "cni"
