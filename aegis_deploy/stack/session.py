"""A stack that is open: its previews, updates, state, settings and tags."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from aegis_deploy.backend.buckets.object_store import password_of, shown_url
from aegis_deploy.backend.factory import open_store
from aegis_deploy.backend.protocol import Store
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.process import user
from aegis_deploy.model.events import (
    Changes,
    Event,
    EventCollector,
    OnEvent,
    Outcome,
    Step,
    UpdateFailure,
)
from aegis_deploy.model.release import SECURE, ConfigValue, opened
from aegis_deploy.pulumi_cli import field_conflicts
from aegis_deploy.pulumi_cli.cli_errors import (
    Finished,
    explain,
    installing,
    last_lines,
    unusable,
)
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.pulumi_cli.project import (
    Project,
    find_project,
    locate_backend,
    pulumi_home,
    stack_name,
    stack_settings,
)
from aegis_deploy.stack import temp_config
from aegis_deploy.stack.automation import Runner
from aegis_deploy.stack.passphrase_cipher import (
    PassphraseCipher,
    UnreadableError,
    cipher_of,
    present_passphrase,
)
from aegis_deploy.stack.passphrases import former_passphrases, with_any_passphrase

Program = Callable[[], None]
_SCRATCH = "encrypted"
_KINDS = {"up": "update", "refresh": "refresh"}
"""What the history calls the commands of the CLI."""


@dataclass
class Session:
    """A stack, open.

    Attributes:
        name: The stack's name, without organization and project.
        reference: Its name as it was given, such as ``acme/shop/staging``.
        project: The project's name.
        directory: The project's directory.
        settings_directory: Where the stacks' config files are.
        backend_url: Where its state is; a password in it is masked.
        pulumi_home: The CLI's own directory.
        engine: The CLI.
        store: The state and history, read directly where that can be.
        runtime: What runs the project's program, as its Pulumi.yaml has it.
    """

    name: str
    reference: str
    project: str
    directory: Path
    settings_directory: Path
    backend_url: str
    pulumi_home: Path
    engine: Engine
    store: Store
    runtime: str | Mapping[str, Any] = ""
    _stopped: bool = field(default=False, repr=False)

    @classmethod
    def open(
        cls,
        stack: str | None,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Session:
        """Open a stack.

        Args:
            stack: Its name; the selected one when None.
            directory: The project's directory, or one below it.
            environment: What to use in place of this process's environment.

        Raises:
            AegisError: There is no project, no such stack, or the backend is not reachable.
        """
        variables = dict(os.environ if environment is None else environment)
        variables["PULUMI_SKIP_UPDATE_CHECK"] = "true"
        # What differs between two states, which some services ask for, leaves out what was begun
        # and never confirmed: nobody could clear up after a death.
        variables.setdefault("PULUMI_OPTIMIZED_CHECKPOINT_PATCH", "false")
        variables.update(signature(variables))
        project = find_project(directory)
        home = pulumi_home(variables)
        url = locate_backend(project, variables, home)
        engine = Engine(project.directory, variables, hidden=password_of(url))
        reference = stack or variables.get("PULUMI_STACK") or _selected(engine)
        name = stack_name(reference, project.name, url)
        store = open_store(url, project.name, name, engine, reference)
        store.require()
        return cls(
            name=name,
            reference=reference,
            project=project.name,
            directory=project.directory,
            settings_directory=project.settings_directory,
            backend_url=shown_url(url),
            pulumi_home=home,
            engine=engine,
            store=store,
            runtime=project.runtime,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """The whole environment the CLI runs with."""
        return self.engine.environment

    @property
    def _place(self) -> Project:
        return Project(self.project, self.directory, self.settings_directory, runtime=self.runtime)

    @cached_property
    def _runner(self) -> Runner:
        self.engine.version()  # One that is too old is refused.
        return Runner(self.engine, self.reference, self._place)

    @property
    def config_file(self) -> Path:
        """The stack's config file, whether or not it exists."""
        return self.settings_directory / f"Pulumi.{self.name}.yaml"

    def prepare_program(self) -> None:
        """Get ready to run the project's program, which takes a second, beside what comes first."""
        self._runner.prepare()

    def prepare_key(self) -> None:
        """Make the key of the stack's secrets, a million rounds, beside what comes first.

        Only where the config file says how; where it cannot be made, whoever needs it says why.
        """

        def make() -> None:
            with suppress(Exception):
                self.cipher(temp_config.encryption_of_file(self.config_file))

        threading.Thread(target=make, name="key", daemon=True).start()

    def close(self) -> None:
        """Run no programs any more."""
        if "_runner" in vars(self):
            self._runner.stop()

    def preview(
        self,
        *,
        program: Program | None = None,
        exclude: Sequence[str] = (),
        refresh: bool = False,
        on_event: OnEvent | None = None,
        config: Mapping[str, ConfigValue] | None = None,
        overrides: Mapping[str, str] | None = None,
        policy_packs: Sequence[str] = (),
        again: str = "aegis preview",
    ) -> Changes:
        """Say what an update would change, and change nothing.

        Args:
            program: What to register in place of running the project's program.
            exclude: URNs to leave out.
            refresh: Whether to read the live objects first.
            on_event: Told everything as it happens, on another thread.
            config: Settings to use in place of the stack's config file.
            overrides: Settings to use in place of some in that file; see `temp_config`.
            policy_packs: Directories of policy packs to ask as well.
            again: What is typed, once it is mended, when it failed.

        Raises:
            AegisError: When the preview failed, for another reason than a policy.
        """
        recorder = EventCollector(on_event)
        with temp_config.temporary(self, config, overrides) as config_file:
            done, _ = self._run(
                "preview",
                recorder,
                program=program,
                exclude=list(exclude) or None,
                refresh=refresh or None,
                config_file=config_file,
                policy_packs=list(policy_packs) or None,
            )
        violations = tuple(dict.fromkeys(recorder.violations))
        changes = Changes(tuple(recorder.steps), recorder.summary, recorder.warnings(), violations)
        if done.code and not changes.forbidden:
            error = unusable(
                done, f"the preview of {self.name} failed", self._failures(done, recorder)
            )
            mended = field_conflicts.advice(error.why, self.name)
            missing = installing(error.why)
            first = f"{mended}\nthen" if mended else f"{missing or 'correct it'}, then"
            error.next = error.next or f"{first}: {again} --stack {self.name}"
            raise error
        return changes

    def update(
        self,
        *,
        program: Program | None = None,
        message: str,
        refresh: bool = False,
        exclude: Sequence[str] = (),
        targets: Sequence[str] = (),
        on_event: OnEvent | None = None,
        config: Mapping[str, ConfigValue] | None = None,
        overrides: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Update the stack. A failed update is an outcome, not an exception.

        Args:
            program: What to register in place of running the project's program.
            message: What history says about it.
            refresh: Whether to read the live objects first.
            exclude: URNs to leave out.
            targets: URNs to update alone; none means all.
            on_event: Told everything as it happens, on another thread.
            config: Settings to use, and to record in history, in place of the stack's config file.
            overrides: The same in place of some in that file; see `temp_config`.
            environment: Variables for the program, over the whole environment.

        Raises:
            AegisError: When it could not begin: the lock is held, the passphrase is wrong.
        """
        with temp_config.temporary(self, config, overrides) as config_file:
            return self._operate(
                "up",
                EventCollector(on_event),
                program=program,
                message=message,
                exclude=list(exclude) or None,
                target=list(targets) or None,
                refresh=refresh or None,
                config_file=config_file,
                environment=environment,
            )

    def refresh(
        self,
        *,
        message: str = "",
        on_event: OnEvent | None = None,
    ) -> Outcome:
        """Bring the state in line with the live objects.

        Args:
            message: What history says about it.
            on_event: Told everything as it happens, on another thread.

        Raises:
            AegisError: When it could not begin.
        """
        return self._operate("refresh", EventCollector(on_event), message=message or None)

    def drift(self, urns: Sequence[str] = ()) -> tuple[Step, ...]:
        """What is not live as it was declared: changed or gone. Nothing is changed, not the state.

        Args:
            urns: What to look at; everything when it is empty.

        Raises:
            AegisError: When it could not be asked for.
        """
        found: list[Step] = []

        def note(event: Event) -> None:
            if event.kind == "ends" and event.step is not None and event.step.changes:
                found.append(event.step)

        recorder = EventCollector(note)
        done, _ = self._run("preview_refresh", recorder, target=list(urns) or None)
        if done.code:
            raise unusable(
                done, f"the drift of {self.name} could not be seen", self._failures(done, recorder)
            )
        return tuple(found)

    def stop(self) -> None:
        """Stop the running update cleanly, from any thread; no more than one interrupt is sent."""
        self._stopped = True
        self.engine.stop()

    def export(self, show_secrets: bool = False) -> dict[str, Any]:
        """The state: ``{"version": 3, "deployment": {...}}``, as ``pulumi stack export`` has it."""
        if not show_secrets:
            state = self.store.state()
            if state is not None:
                return state
        flags = ["--show-secrets"] if show_secrets else []
        exported = self.engine.expect_json("stack", "export", "--stack", self.reference, *flags)
        return dict(exported)

    def resources(self) -> list[Mapping[str, Any]]:
        """The resources in the state, secrets encrypted."""
        return list((self.export().get("deployment") or {}).get("resources") or ())

    def import_state(self, state: Mapping[str, Any], *, force: bool = False) -> None:
        """Put a state in the place of the stack's. Surgery, for recovery only.

        Args:
            state: The state.
            force: Whether to put there also one that does not hold together.
        """
        # Not through a file: secrets may be in it.
        done = self.engine.run(
            ["stack", "import", "--stack", self.reference, *(["--force"] if force else [])],
            feed=json.dumps(state),
        )
        if done.code:
            raise explain(done, "pulumi stack import failed")

    def repair_state(self) -> None:
        """Have the CLI put the resources of the state in order, and drop what leads nowhere."""
        self.engine.expect("state", "repair", "--yes", "--stack", self.reference)

    def decrypted(
        self,
        config: Mapping[str, ConfigValue],
        encryption: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Decrypt settings as a history file has them, in this process where a passphrase does.

        Args:
            config: The settings.
            encryption: How they are encrypted; None means as the stack does now.

        Raises:
            AegisError: The passphrase is another, and none of those of before is the one.
        """
        how = temp_config.encryption_now(self) if encryption is None else encryption
        cipher = self.cipher(how, former=True)
        if cipher is not None:
            with suppress(UnreadableError):
                return {key: opened(it.value, cipher.decrypted) for key, it in config.items()}
        with temp_config.temporary(self, config, encryption=how) as path:
            flags = ("--json", "--show-secrets", "--config-file", str(path))
            words = ("config", *flags, "--stack", self.reference)
            done = with_any_passphrase(
                self.environment, lambda more: self.engine.run(words, environment=more)
            )
        if done.code:
            raise explain(done, "the settings of a release cannot be decrypted")
        raw = json.loads(done.stdout)
        return {
            key: raw[key].get("objectValue", raw[key].get("value")) for key in config if key in raw
        }

    def cipher(
        self, encryption: Mapping[str, Any], *, former: bool = False
    ) -> PassphraseCipher | None:
        """Return what opens and closes secrets in this process; None: only the CLI can.

        Args:
            encryption: How they are encrypted, as a config file says it.
            former: Whether passphrases of before are tried, too: for reading.
        """
        salt, provider = (encryption.get(it) for it in ("encryptionsalt", "secretsprovider"))
        if not salt or provider not in (None, "", "default", "passphrase"):
            return None
        present = present_passphrase(self.environment, self.directory)
        phrases = [] if present is None else [present]
        if former:
            phrases += former_passphrases(self.environment)
        return cipher_of(salt, phrases)

    def encrypted(self, text: str) -> str:
        """Encrypt a text as the stack's settings are."""
        key = f"{self.project}:{_SCRATCH}"
        with temp_config.temporary(self, {key: ConfigValue(text, secret=True)}) as path:
            content = yaml.safe_load(Path(str(path)).read_text())
        return str(content["config"][key][SECURE])

    def settings(self) -> Mapping[str, ConfigValue]:
        """The settings the next update would record, as the files have them: secrets encrypted."""
        return stack_settings(self._place, self.name)

    def tags(self) -> Mapping[str, str]:
        """The stack's tags."""
        return self.store.tags()

    def change_tags(self, change: Mapping[str, str | None]) -> None:
        """Set some of the stack's tags, or remove them (None)."""
        with self.engine.tagging:
            if not self.store.change_tags(change):
                for name, value in change.items():
                    words = ("rm", name) if value is None else ("set", name, value)
                    self.engine.expect("stack", "tag", *words, "--stack", self.reference)
            self.store.keep_tags()

    def _operate(self, command: str, recorder: EventCollector, **options: Any) -> Outcome:  # noqa: ANN401
        started, clock = datetime.now(UTC), time.monotonic()
        with self.store.recording() as made:
            done, begun = self._run(command, recorder, **options)
        if done.code and not begun and not recorder.said and done.code > 0:
            what = f"the {command} of {self.name} did not begin"
            raise unusable(done, what, self._failures(done, recorder))
        return Outcome(
            succeeded=done.code == 0,
            failures=self._failures(done, recorder) if done.code else (),
            summary=recorder.summary,
            started=started,
            duration=time.monotonic() - clock,
            stopped=bool(done.code) and self._stopped,
            killed=done.code < 0 or bool(done.code and self.store.unfinished()),
            steps=tuple(step for step in recorder.steps if step.changes),
            text=last_lines(done.stdout),
            recorded=self._own(made, command, options.get("message")),
        )

    def _own(self, made: Sequence[str], command: str, message: object) -> str | None:
        """Tell the record of what this process did from those that others made meanwhile."""
        if len(made) < 2:  # noqa: PLR2004 - one, or none
            return next(iter(made), None)
        with suppress(AegisError):
            for release in self.store.releases(len(made)):
                own = release.kind == _KINDS[command] and release.message == (message or "")
                if own and release.key in made:
                    return release.key
        return None

    def _failures(self, done: Finished, recorder: EventCollector) -> tuple[UpdateFailure, ...]:
        if done.code < 0:
            return (UpdateFailure("", f"the pulumi CLI was ended by signal {-done.code}"),)
        return recorder.failures(last_lines(done.stderr) or last_lines(done.stdout))

    def _run(
        self,
        command: str,
        recorder: EventCollector,
        **options: Any,  # noqa: ANN401
    ) -> tuple[Finished, bool]:
        """Run an operation of the engine; say also whether it got as far as a resource."""
        self._stopped = False
        self.engine.arm()
        done = self._runner.run(command, recorder, **options)
        if recorder.error is not None:
            raise recorder.error
        return done, bool(recorder.steps)


def signature(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Variables that make the CLI record who runs an update, where no pipeline says so.

    A backend that is not a service records nobody; the CLI's generic variables for pipelines are
    recorded with every update on all of them.
    """
    if environment.get("PULUMI_CI_SYSTEM") or environment.get("CI"):
        return {}
    who = f"{user()}@{socket.gethostname()}"
    return {"PULUMI_CI_SYSTEM": "aegis", "PULUMI_CI_BUILD_ID": who}


def _selected(engine: Engine) -> str:
    done = engine.run(["stack", "--show-name"])
    if done.code:
        raise AegisError(
            what="no stack is named and none is selected",
            why=last_lines(done.stderr, 3),
            next="name one with --stack; `pulumi stack ls` lists them",
        )
    return done.stdout.strip()
