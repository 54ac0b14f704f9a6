"""A real Prometheus server that scrapes what a test tells it to.

Debian's package, unpacked into the lab's cache and not installed, as the lab's daemons are.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from lab.settings import load

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 180
_SETTINGS = """
global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
scrape_configs:
  - job_name: web
    static_configs: [{{targets: ["{target}"]}}]
"""


def _program() -> Path:
    """The server's program; the test is left out where its package cannot be had."""
    target = load(os.environ, ROOT).cache / "debian" / "prometheus"
    if not target.is_dir():
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        done = subprocess.run(
            download, cwd=partial, capture_output=True, text=True, timeout=120, check=False
        )
        archives = list(partial.glob("*.deb"))
        if done.returncode or not archives:
            pytest.skip(f"Debian's package prometheus cannot be had here: {done.stderr[-200:]}")
        subprocess.run(["dpkg-deb", "--extract", archives[0], partial], check=True, timeout=60)
        archives[0].unlink()
        partial.rename(target)
    return target / "usr" / "bin" / "prometheus"


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[str]:
    """Run a server until the block ends; yields its address once it has scraped the target.

    Args:
        directory: An empty directory.
        target: What it scrapes, as ``host:port``.
    """
    program = _program()
    settings = directory / "prometheus.yml"
    settings.write_text(_SETTINGS.format(target=target))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(program),
                f"--config.file={settings}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + _SECONDS
        while not _scraped(f"http://{address}"):
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.2)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=_SECONDS)


def newest(url: str, query: str) -> float | None:
    """Return the only figure that a query has; None while it has none.

    Args:
        url: The server.
        query: The query.
    """
    try:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False)
        (series,) = answer.json()["data"]["result"]
        return float(series["value"][1])
    except (httpx.HTTPError, ValueError, KeyError):
        return None


def _scraped(url: str) -> bool:
    return newest(url, "up") == 1
