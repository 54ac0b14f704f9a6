"""Writes a one-layer image archive, as `docker save` does, without a Docker daemon.

The cluster's own two images (pause, CoreDNS) hold one static program each; they are loaded
into the pods' image store before anything that could build or pull an image runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """Return this machine's architecture as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def write(
    archive: Path, *, name: str, program: Path, entrypoint: Sequence[str], user: str = "65532:65532"
) -> None:
    """Write an image archive that holds one static program.

    Args:
        archive: The file to write; it appears whole or not at all.
        name: The image's name with its tag.
        program: The program; it stands in the image's root under its own file name.
        entrypoint: What the container executes.
        user: Numeric user and group.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo(program.name)
        info.size, info.mode = program.stat().st_size, 0o755
        with program.open("rb") as file:
            tar.addfile(info, file)
    content = layer.getvalue()
    configuration = json.dumps(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": user},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"],
            },
        }
    ).encode()
    config_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    partial = archive.with_suffix(".partial")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(partial, mode="w") as tar:
        for member, data in (
            (config_name, configuration),
            ("layer.tar", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    partial.replace(archive)
