"""Opening the store at a backend's address, of whatever kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aegis_deploy.backend.protocol import Store
from aegis_deploy.pulumi_cli.engine import Engine

if TYPE_CHECKING:
    from aegis_deploy.backend.buckets.object_store import Bucket

DIY = ("file", "s3", "gs", "azblob", "postgres", "mem")
"""The schemes of the stores that are no service."""
_BUCKETS = {
    "s3": ("aegis_deploy.backend.buckets.s3", "S3Bucket"),
    "gs": ("aegis_deploy.backend.buckets.gcs", "GsBucket"),
    "azblob": ("aegis_deploy.backend.buckets.azure_blob", "AzblobBucket"),
    "postgres": ("aegis_deploy.backend.buckets.postgres", "PostgresBucket"),
}


def open_store(url: str, project: str, stack: str, engine: Engine, reference: str) -> Store:
    """Open the store at a backend's address."""
    # Each brings libraries of its own, which not everybody has, and which take their time.
    scheme = urlsplit(url).scheme
    if scheme != "file" and scheme not in _BUCKETS:
        from aegis_deploy.backend.cloud_api import find_account
        from aegis_deploy.backend.cloud_store import ServiceStore

        return ServiceStore(engine, reference, url, *find_account(url, engine.environment))
    from aegis_deploy.backend.buckets.directory import DirectoryBucket
    from aegis_deploy.backend.diy_store import DiyStore

    if scheme == "file":
        bucket: Bucket = DirectoryBucket(_path(url, engine))
    else:
        module, name = _BUCKETS[scheme]
        bucket = getattr(import_module(module), name)(url, engine.environment)
    return DiyStore(bucket, project, stack, engine, reference)


def read_tags(
    url: str, project: str, stack: str, engine: Engine, reference: str
) -> Mapping[str, str]:
    """Read a stack's tags with nothing installed but the CLI, as a program of Pulumi has it."""
    from aegis_deploy.backend import cli_store

    if urlsplit(url).scheme in _BUCKETS:
        return cli_store.tags(engine, reference)
    return open_store(url, project, stack, engine, reference).tags()


def _path(url: str, engine: Engine) -> Path:
    text = url.removeprefix("file://").partition("?")[0]
    if text.startswith("~"):
        home = engine.environment.get("HOME") or str(Path.home())
        return Path(home) / text[1:].lstrip("/")
    return engine.directory / text
