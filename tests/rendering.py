"""Runs the whole program under Pulumi's mocks and shows what it would register.

For unit tests, and for whatever else wants the objects of a stack without an engine or a cluster,
such as a validator of manifests.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import os
import runpy
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks, rpc, stack
from pulumi.runtime.settings import get_root_resource

from components.setting_keys import API_TOKEN, KEYS
from components.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BUILT_DIGEST = f"sha256:{'b' * 64}"
REGISTRY = "registry.example.com"
TOKEN = "an-api-token-of-a-test"

_ENVIRONMENT = {
    "AEGIS_REGISTRY": REGISTRY,
    "AEGIS_GIT_SHA": COMMIT,
    # A preview asks the backend what was rolled back, except where a deployer does.
    "AEGIS_GATE": "deployer",
}
_OUR_VARIABLES = ("AEGIS_", "GITHUB_SHA", "PULUMI_CONFIG", "PULUMI_K8S_")


@dataclass(frozen=True)
class Registered:
    """One resource as the program registered it.

    Attributes:
        type: Its type token.
        name: Its name in the state.
        inputs: Its inputs, secrets laid open.
        secret_inputs: Which of the inputs were secret.
        urn: Its URN.
        parent: The URN of its parent.
        provider: The URN and id of its provider; empty for the default one.
        custom: Whether a provider manages it, which is not so for a component.
        dependencies: The URNs of what is made before it and deleted after it.
        create_timeout: How long making it may take, when that is said.
        update_timeout: How long changing it may take, when that is said.
        protected: Whether the engine refuses to delete it.
        retained: Whether its object stays when it is deleted.
        ignored: The paths whose changes are ignored.
    """

    type: str
    name: str
    inputs: Mapping[str, Any]
    secret_inputs: frozenset[str]
    urn: str
    parent: str
    provider: str
    custom: bool
    dependencies: frozenset[str]
    create_timeout: str
    update_timeout: str
    protected: bool
    retained: bool
    ignored: tuple[str, ...]

    @property
    def is_manifest(self) -> bool:
        """Whether this is a Kubernetes object."""
        return self.type.startswith("kubernetes:")

    @property
    def manifest(self) -> dict[str, Any]:
        """The object as Kubernetes is sent it."""
        manifest: dict[str, Any] = _whole(dict(self.inputs))
        return manifest


@dataclass(frozen=True)
class Rendering:
    """All a stack registers, in order, and what it exports."""

    resources: tuple[Registered, ...]
    outputs: Mapping[str, Any]

    def of_type(self, suffix: str) -> list[Registered]:
        """The resources whose type token ends so: ``Deployment``, ``aegis:image:Image``."""
        return [item for item in self.resources if f":{item.type}".endswith(f":{suffix}")]

    def one(self, suffix: str, name: str | None = None) -> Registered:
        """The only resource of a type, or the only one whose object has the name."""
        found = [
            item
            for item in self.of_type(suffix)
            if name is None or item.inputs.get("metadata", {}).get("name") == name
        ]
        assert len(found) == 1, f"{suffix} {name or ''}: {[item.name for item in found]}"
        return found[0]

    def manifests(self) -> Iterator[dict[str, Any]]:
        """Every Kubernetes object."""
        return (item.manifest for item in self.resources if item.is_manifest)


class _Answers(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ == "docker:index/image:Image":
            repository = str(state["imageName"]).rpartition(":")[0]
            state["repoDigest"] = f"{repository}@{BUILT_DIGEST}"
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"the program asks {args.token}, which takes a cluster")


class _Recorder(mocks.MockMonitor):
    """A monitor that keeps the requests: the mocks alone see neither dependencies nor parents."""

    def __init__(self) -> None:
        super().__init__(_Answers())
        self.registered: list[Registered] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object)
            self.registered.append(
                Registered(
                    type=request.type,
                    name=request.name,
                    inputs={key: _laid_open(value) for key, value in inputs.items()},
                    secret_inputs=frozenset(key for key, value in inputs.items() if _secret(value)),
                    urn=response.urn,
                    parent=request.parent,
                    provider=request.provider,
                    custom=request.custom,
                    dependencies=frozenset(request.dependencies),
                    create_timeout=request.customTimeouts.create,
                    update_timeout=request.customTimeouts.update,
                    protected=request.protect,
                    retained=request.retainOnDelete,
                    ignored=tuple(request.ignoreChanges),
                )
            )
        return response


def _whole(value: Any) -> Any:
    """Undo what the wire format does to whole numbers: it has only floating-point ones."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _secret(value: Any) -> bool:
    return bool(rpc.is_rpc_secret(value))


def _laid_open(value: Any) -> Any:
    return rpc.unwrap_rpc_secret(value) if _secret(value) else value


def stack_config(name: str) -> dict[str, str]:
    """The committed configuration of a stack: the project's, and the stack file's over it."""
    config: dict[str, str] = {}
    for path in (ROOT / "Pulumi.yaml", ROOT / f"Pulumi.{name}.yaml"):
        if path.exists():
            written = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
            for key, value in written.items():
                # A secret only the engine can read.
                if not isinstance(value, dict) or "secure" not in value:
                    config[key] = passed_on(value)
    return config


def passed_on(value: Any) -> str:
    """Return the text that a program gets of a value in a stack's file, as the CLI makes it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        value = int(value) if value.is_integer() else value
        # Without an exponent; Python writes one below a ten-thousandth.
        return f"{Decimal(repr(value)):f}"
    return json.dumps(value)


def render(name: str, *, token: str | None = None, **changes: str | None) -> Rendering:
    """Run the program for a stack and return what it registers.

    Args:
        name: The stack's name.
        token: The API token, a secret; none when left out.
        **changes: Settings to change, without their namespace; None takes one away.

    Raises:
        SettingsError: The settings are wrong.
    """
    return _render(name, token, tuple(sorted(changes.items())))


@functools.lru_cache(maxsize=64)
def _render(name: str, token: str | None, changes: tuple[tuple[str, str | None], ...]) -> Rendering:
    config = stack_config(name)
    for key, value in changes:
        full = key if ":" in key else f"aegis:{key}"
        if value is None:
            config.pop(full, None)
        else:
            config[full] = value
    # A token that is given as any other setting is to be seen as one in plain text.
    secrets = [it.full_name for it in KEYS if it.secret and it is not API_TOKEN]
    if token is not None:
        config[API_TOKEN.full_name] = token
        secrets.append(API_TOKEN.full_name)
    return contextvars.Context().run(_run, name, config, [it for it in secrets if it in config])


def _run(name: str, config: dict[str, str], secrets: list[str]) -> Rendering:
    before = dict(os.environ)
    for variable in before:
        if variable.startswith(_OUR_VARIABLES):
            del os.environ[variable]
    os.environ.update(_ENVIRONMENT)
    try:
        with _event_loop() as loop:
            recorder = _Recorder()
            # A preview: there is no engine that would call hooks.
            mocks.set_mocks(
                recorder.mocks, project="aegis", stack=name, preview=True, monitor=recorder
            )
            pulumi.runtime.set_all_config(config, secrets)
            loop.run_until_complete(stack.run_pulumi_func(_program))
            outputs = loop.run_until_complete(_outputs())
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Rendering(tuple(recorder.registered), outputs)


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Give Pulumi a loop, and its mocks' worker thread another that is closed in the end."""
    loop, workers_loop = asyncio.new_event_loop(), asyncio.new_event_loop()
    worker = ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(workers_loop,))
    loop.set_default_executor(worker)
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        worker.shutdown()
        workers_loop.close()
        loop.close()
        asyncio.set_event_loop(None)


def _program() -> None:
    # The program would end the process over settings that are wrong; a test wants the error.
    load_settings(ROOT)
    before = signal.getsignal(signal.SIGINT)
    try:
        runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
    finally:
        # The program ends its process at an interrupt; this one is the test's.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


async def _outputs() -> dict[str, Any]:
    root = get_root_resource()
    assert isinstance(root, stack.Stack)
    return {
        name: await pulumi.Output.from_input(value).future() for name, value in root.outputs.items()
    }
