"""Downloads official releases into the cache: whole and verified, or not at all.

Whether a site can be used is known within `ANSWER_WITHIN` seconds, so that a network that lets
nothing out costs no more than that; whoever asked goes on without.
"""

from __future__ import annotations

import hashlib
import queue
import re
import shutil
import tarfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lab import releases
from lab.progress import Step
from lab.releases import Digest, Release
from lab.settings import LabSettings
from lab.toolchain import alone

if TYPE_CHECKING:
    import httpx

ANSWER_WITHIN = 3.0
"""Seconds in which a site must say that it has a release."""
STALLED_AFTER = 15.0
"""Seconds without a byte after which a transfer is given up."""
AT_MOST = 600.0
"""Seconds for all transfers together: building takes no longer."""
JUDGED_AFTER = 30.0
"""Seconds after which a rate that would need longer than that is given up."""
ATTEMPTS = 2
"""A transfer that is cut begins once more, from its start."""
MIB = 1024**2
_LARGEST_LIST = MIB
_PARTIAL = ".partial"
_OK = 200


@dataclass(frozen=True)
class Offer:
    """A release that its site has.

    Attributes:
        release: Which.
        digest: What its archive must come to.
    """

    release: Release
    digest: Digest


@dataclass(frozen=True)
class Refusal:
    """A release that cannot be had.

    Attributes:
        release: Which.
        why: Why not, with the site's name.
    """

    release: Release
    why: str


class _RefusedError(Exception):
    """Why a release cannot be had."""


def reach(
    settings: LabSettings, wanted: Sequence[Release], within: float = ANSWER_WITHIN
) -> tuple[list[Offer], list[Refusal]]:
    """Ask the sites for releases; writes nothing.

    Args:
        settings: Says where the sites are.
        wanted: The releases.
        within: Seconds until a site counts as out of reach.

    Returns:
        What can be downloaded, and what cannot.
    """
    begin = time.monotonic()
    answers: queue.SimpleQueue[tuple[Release, Digest | str]] = queue.SimpleQueue()
    waiting = dict.fromkeys(wanted, f"it did not answer within {within:g} s")

    def ask(client: httpx.Client, release: Release) -> None:
        try:
            with _worded():
                answers.put((release, _digest(client, settings, release)))
        except _RefusedError as error:
            answers.put((release, str(error)))

    client = _client(within)
    for release in wanted:
        # Daemons: one that waits for a name server may outlive the whole command.
        threading.Thread(target=ask, args=(client, release), daemon=True).start()
    offers: list[Offer] = []
    refusals: list[Refusal] = []
    while waiting:
        try:
            left = begin + within - time.monotonic()
            release, answer = answers.get(timeout=max(left, 0.001))
        except queue.Empty:
            refusals += [_refusal(settings, *item) for item in waiting.items()]
            break
        del waiting[release]
        if isinstance(answer, Digest):
            offers.append(Offer(release, answer))
        else:
            refusals.append(_refusal(settings, release, answer))
    order = list(wanted)
    return (
        sorted(offers, key=lambda it: order.index(it.release)),
        sorted(refusals, key=lambda it: order.index(it.release)),
    )


def fetch(
    settings: LabSettings,
    offers: Sequence[Offer],
    step: Step,
    *,
    stalled_after: float = STALLED_AFTER,
    at_most: float = AT_MOST,
    judged_after: float = JUDGED_AFTER,
) -> list[Refusal]:
    """Download, verify and unpack releases, side by side.

    Args:
        settings: Says where cache and sites are.
        offers: What `reach` found.
        step: Is told how many bytes there are and are left.
        stalled_after: Seconds without a byte after which a transfer is given up.
        at_most: Seconds after which all that still go on are given up.
        judged_after: Seconds after which they are given up if they would need longer than that.

    Returns:
        What could not be had after all; nothing of it is in the cache.

    Raises:
        OSError: The cache cannot be written.
    """
    root = settings.cache / "releases"
    root.mkdir(parents=True, exist_ok=True)
    over = threading.Event()
    begin, late = time.monotonic(), ""
    with alone(root):
        for left in root.glob(f"*{_PARTIAL}"):
            shutil.rmtree(left)  # By one that was killed, perhaps of another version.
        client = _client(stalled_after)
        transfers = [_Transfer(client, settings, offer, over) for offer in offers]
        try:
            for transfer in transfers:
                transfer.start()
            for transfer in transfers:
                while transfer.is_alive() and not late:
                    transfer.join(0.2)
                    _tell(step, transfers)
                    seconds = time.monotonic() - begin
                    if seconds > at_most:
                        late = f"it was not done within {at_most:g} s"
                    elif seconds > judged_after and _needs(step, seconds) > at_most:
                        late = f"too slow: {step.note} within {seconds:.0f} s"
            given_up = [transfer for transfer in transfers if transfer.is_alive()]
        finally:
            over.set()
    refusals = []
    for transfer in transfers:
        if transfer.fault is not None:
            raise transfer.fault
        if why := (late if transfer in given_up else transfer.why):
            refusals.append(_refusal(settings, transfer.release, why))
    return refusals


def _tell(step: Step, transfers: Sequence[_Transfer]) -> None:
    done, total = (sum(getattr(it, name) for it in transfers) for name in ("done", "total"))
    far = f"{done // MIB} of {total // MIB} MiB"
    note = f"{far}, unpacking" if 0 < total <= done else far
    step.update(done=done, total=total or None, note=note)


def _needs(step: Step, seconds: float) -> float:
    """Return the seconds that all of it will take at the rate of the first of them."""
    return seconds * (step.total or 0) / max(step.done, 1)


def _refusal(settings: LabSettings, release: Release, why: str) -> Refusal:
    return Refusal(release, f"{urlsplit(release.base(settings)).netloc}: {why}")


class _Transfer(threading.Thread):
    """One release on its way.

    Attributes:
        release: Which.
        done: Bytes that came.
        total: Bytes that there are; 0 until the site says it.
        why: Why it cannot be had; "" unless that is known.
        fault: What else went wrong, such as a full disk; for whoever waits.
    """

    def __init__(
        self, client: httpx.Client, settings: LabSettings, offer: Offer, over: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self.release = offer.release
        self.done = self.total = 0
        self.why = ""
        self.fault: Exception | None = None
        self._client, self._settings, self._digest = client, settings, offer.digest
        self._over = over

    def run(self) -> None:
        target = releases.directory(self._settings, self.release)
        partial = target.with_name(f"{target.name}{_PARTIAL}")
        try:
            partial.mkdir()
            archive = partial / "archive"
            self._download(archive)
            self._unpack(archive, partial / "programs")
            self._stop_if_over()
            shutil.rmtree(target, ignore_errors=True)
            (partial / "programs").rename(target)
        except _RefusedError as error:
            self.why = str(error)
        except Exception as error:
            self.fault = error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _stop_if_over(self) -> None:
        if self._over.is_set():
            raise _RefusedError("it was given up")

    def _download(self, archive: Path) -> None:
        for left in reversed(range(ATTEMPTS)):
            try:
                with _worded():
                    found = self._attempt(archive)
                break
            except _RefusedError as error:
                if left == 0 or not isinstance(error.__cause__, _cut()):
                    raise
        if found != self._digest.value:
            raise _RefusedError(
                f"{self.release.file} has the {self._digest.algorithm} checksum {found}, "
                f"not the {'pinned' if self.release.pin else 'published'} {self._digest.value}"
            )

    def _attempt(self, archive: Path) -> str:
        url = self.release.url(self._settings, self.release.archive)
        digest = hashlib.new(self._digest.algorithm)
        self.done = 0
        with self._client.stream("GET", url) as response, archive.open("wb") as file:
            _check(response, url)
            self.total = int(response.headers.get("Content-Length") or 0)
            for block in response.iter_bytes(MIB // 4):
                self._stop_if_over()
                file.write(block)
                digest.update(block)
                self.done += len(block)
        return digest.hexdigest()

    def _unpack(self, archive: Path, target: Path) -> None:
        """Take the programs, and nothing else, out of an archive that was verified."""
        wanted = re.compile(self.release.members)
        target.mkdir()
        try:
            # As a stream: looking for names first would decompress all of it twice.
            with tarfile.open(archive, "r|gz") as file:
                for member in file:
                    if member.isfile() and wanted.fullmatch(member.name.removeprefix("./")):
                        member.name = PurePosixPath(member.name).name
                        file.extract(member, target, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise _RefusedError(f"{self.release.file} is no archive ({error})") from error
        there = {path.name for path in target.iterdir()}
        if missing := [name for name in self.release.needed if name not in there]:
            raise _RefusedError(f"{self.release.file} holds no {', '.join(missing)}")
        for path in target.iterdir():
            path.chmod(0o755)


def _client(timeout: float) -> httpx.Client:
    import httpx  # Not for every command of the lab.

    # Unchanged bytes are what a checksum is of.
    headers = {"Accept-Encoding": "identity", "User-Agent": "aegis-lab"}
    return httpx.Client(follow_redirects=True, timeout=timeout, headers=headers)


def _digest(client: httpx.Client, settings: LabSettings, release: Release) -> Digest:
    """Return the checksum a release must have, once its site has said that it has it."""
    if release.pin is not None:
        url = release.url(settings, release.archive)
        _check(client.head(url), url)
        return release.pin
    url = release.url(settings, release.published)
    with client.stream("GET", url) as response:
        _check(response, url)
        text = b""
        for block in response.iter_bytes():
            text += block
            if len(text) > _LARGEST_LIST:
                raise _RefusedError(f"{url} is no list of checksums")
    found = releases.published_digest(text.decode(errors="replace"), release.file)
    if found is None:
        raise _RefusedError(f"{url} names no checksum of {release.file}")
    return found


def _check(response: httpx.Response, url: str) -> None:
    if urlsplit(url).scheme == "https" and response.url.scheme != "https":
        raise _RefusedError(f"{url} leads to {response.url.scheme}://{response.url.host}")
    if response.status_code != _OK:
        status = f"{response.status_code} {response.reason_phrase}".strip()
        raise _RefusedError(f"{PurePosixPath(urlsplit(url).path).name}: {status}")


def _cut() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.RemoteProtocolError, httpx.ReadError)


@contextmanager
def _worded() -> Iterator[None]:
    """Say in a person's words what was wrong with a connection."""
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise _RefusedError("it answers nothing, or no more") from error
    except httpx.ProxyError as error:
        raise _RefusedError(f"the proxy refuses ({error})") from error
    except _cut() as error:
        raise _RefusedError("the transfer was cut") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        raise _RefusedError(words or type(error).__name__) from error
