"""The ledger as a program sees it that is being deployed: what is refused, and that a gate passed.

A plain ``pulumi up`` has no deployer beside it, so the program itself asks and tells, of the one
stack it runs for. Asking must cost a preview next to nothing: the tags are read once, in a thread
beside the program, directly where the backend is a directory and with one run of the CLI elsewhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis_deploy.history.verification_store import Refusal
    from aegis_deploy.report.recorder import Recorder
    from aegis_deploy.stack.session import Session

_PATIENCE = 30.0


@dataclass(kw_only=True)
class ProgramVerification:
    """The ledger of the stack that runs.

    Attributes:
        organization: Who has it, on a service.
        project: Its project's name.
        stack: Its name.
        directory: Its project's directory.
    """

    organization: str
    project: str
    stack: str
    directory: Path
    _refusals: dict[str, Refusal] = field(default_factory=dict, init=False)
    _error: Exception | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def begin(self) -> None:
        """Begin to read."""
        # A daemon: a program that ends before never waits for it.
        self._thread = threading.Thread(target=self._read, name="ledger", daemon=True)
        self._thread.start()

    def refusal(self, images: Iterable[str]) -> str | None:
        """Say why what is about to be deployed was rolled back before; None when it was not.

        Args:
            images: The images of its workloads.

        Raises:
            Exception: The backend could not be asked, or the settings not be read.
        """
        found = self._refused(images)
        return None if found is None else str(found)

    def passed(self, images: Iterable[str]) -> None:
        """Write down that the gate passed in this update, which pardons what it deployed.

        Raises:
            Exception: The backend could not be told.
        """
        from aegis_deploy.history import verification_store

        moment = datetime.now(UTC)
        session = self._session()
        verification_store.mark_passed(session, moment)
        refused = self._refused(images)
        if refused is not None:
            verification_store.pardon(session, refused.fingerprint, declared=_declared())

    def keep(self, recording: Recorder, warn: Callable[[str], None]) -> None:
        """Keep a timeline of the gate in this update; one that cannot be kept is a warning.

        Args:
            recording: What was recorded.
            warn: Told when it cannot be kept.
        """
        from aegis_deploy.common.errors import AegisError
        from aegis_deploy.report import timeline_store

        try:
            timeline_store.save(self._session(), recording, warn, finished=True)
        except (AegisError, OSError) as error:
            warn(f"the timeline for `aegis report` could not be kept: {error}")

    def _refused(self, images: Iterable[str]) -> Refusal | None:
        if self._thread is None:
            self.begin()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._error is not None:
            raise self._error
        if not self._refusals:
            return None
        from aegis_deploy.model.fingerprint import fingerprint, joined
        from aegis_deploy.pulumi_cli.project import find_project, stack_settings

        named = joined(images)
        if named is None:
            return None
        settings = stack_settings(find_project(self.directory), self.stack)
        found = self._refusals.get(fingerprint(named, settings))
        met = found is not None and found.meets(_declared())
        return found if met else None

    def _read(self) -> None:
        try:
            from aegis_deploy.backend.factory import read_tags
            from aegis_deploy.history import verification_store
            from aegis_deploy.pulumi_cli.engine import Engine
            from aegis_deploy.pulumi_cli.project import find_project, locate_backend, pulumi_home

            url = locate_backend(find_project(self.directory), os.environ, pulumi_home(os.environ))
            engine = Engine(self.directory, os.environ)
            tags = read_tags(url, self.project, self.stack, engine, self._reference(url))
            self._refusals = dict(verification_store.parse(tags).refusals)
        except Exception as error:
            self._error = error

    def _session(self) -> Session:
        from aegis_deploy.pulumi_cli.project import find_project, locate_backend, pulumi_home
        from aegis_deploy.stack.session import Session

        url = locate_backend(find_project(self.directory), os.environ, pulumi_home(os.environ))
        return Session.open(self._reference(url), self.directory)

    def _reference(self, url: str) -> str:
        """The stack's name as the CLI takes it: a service is told whose it is."""
        from aegis_deploy.backend.factory import DIY

        if url.partition("://")[0] in DIY:
            return self.stack
        return f"{self.organization}/{self.project}/{self.stack}"


def _declared() -> str:
    from aegis_deploy.model.declared import VARIABLE

    return os.environ.get(VARIABLE, "")
