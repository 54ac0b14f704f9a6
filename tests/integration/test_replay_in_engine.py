"""A replay against the real engine: the state it leaves is the state that was recorded."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import Output, ResourceOptions

from aegis_deploy.model.events import Outcome
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.replay import planning
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.config import kept_settings
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.program import registering
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.integration.accepting_provider import VERSIONS
from tests.integration.attached_providers import attached, writing_down
from tests.integration.isolation import environment_in, place_provider
from tests.integration.prepared import copy, once
from tests.integration.reading_provider import ReadingProvider
from tests.integration.waiting import no_process_left

_TIMES = ("created", "modified", "sourcePosition", "stackTrace")


@dataclass
class Stack:
    """A stack of inline programs, with providers that write down what they do.

    Attributes:
        session: The stack.
        journal: What the providers did.
    """

    session: Session
    journal: Path

    def deploy(self, program: Callable[[], None]) -> int:
        """Deploy a program and return the release's number."""
        outcome = self.session.update(program=program, message="deploy")
        assert outcome.succeeded, outcome.failures
        return self.session.store.releases(limit=1)[0].number

    def plan(self, number: int, *, keep: tuple[str, ...] = ()) -> Replay:
        """Plan the restoring of a release."""
        recorded, now = checkpoint.both(self.session, self.release(number))
        return planning.plan(recorded, now, Choices(keep=keep))

    def release(self, number: int) -> Any:
        """A release of the history."""
        return next(item for item in self.session.store.releases() if item.number == number)

    def restore(self, planned: Replay, settle: Callable[[], str | None] | None = None) -> Outcome:
        """Carry a replay out, and forget what the providers did before it."""
        if planned.prepares:
            self.session.import_state(planned.prepare(self.session.export()))
        self.journal.unlink(missing_ok=True)
        return self.session.update(
            program=registering(planned, settle),
            message="back",
            refresh=True,
            exclude=planned.exclude,
        )

    def preview(self, program: Callable[[], None]) -> dict[str, int]:
        """What a program would change."""
        return dict(self.session.preview(program=program).summary)

    def steps(self) -> list[str]:
        """What the providers did since the last replay began."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def state(self) -> dict[str, Any]:
        """The state, by URN, without times; dependencies as the set they are."""
        exported = self.session.export(show_secrets=True)["deployment"]["resources"]
        return {item["urn"]: _ordered(item) for item in exported}


def _ordered(item: dict[str, Any]) -> dict[str, Any]:
    # The SDK keeps dependencies in a set and sends them in an order that changes from run to run.
    kept = {key: value for key, value in item.items() if key not in _TIMES}
    if kept.get("dependencies"):
        kept["dependencies"] = sorted(kept["dependencies"])
    if kept.get("propertyDependencies"):
        found = kept["propertyDependencies"]
        kept["propertyDependencies"] = {key: sorted(found[key] or ()) for key in found}
    return kept


@pytest.fixture
def stack(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, programs: Path
) -> Iterator[Stack]:
    """A project with one stack, and no program but those of the tests."""

    def make(root: Path) -> None:
        for name in ("project", "backend"):
            (root / name).mkdir()
        (root / "project" / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        engine = Engine(root / "project", environment_in(root, programs))
        engine.expect("stack", "init", "till")
        engine.version()

    copy(once(tmp_path_factory, "till", make), tmp_path)
    for name in VERSIONS:
        place_provider(tmp_path, "tests.integration.reading_provider", name)
    providers = writing_down(tmp_path, *VERSIONS, kind=ReadingProvider)
    with no_process_left(tmp_path), attached(providers) as at:
        environment = {**environment_in(tmp_path, programs), **at}
        session = Session.open("till", tmp_path / "project", environment)
        yield Stack(session, tmp_path / "journal")


class _Component(pulumi.ComponentResource):
    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("shop:till:Component", name, {"name": name}, opts)


def _thing(name: str, values: dict[str, Any], **options: Any) -> pulumi.CustomResource:
    return pulumi.CustomResource(
        "kubernetes:core/v1:ConfigMap",
        name,
        values,
        ResourceOptions(version=VERSIONS["kubernetes"], **options),
    )


def _image(tag: str, **options: Any) -> pulumi.CustomResource:
    return pulumi.CustomResource(
        "docker:index/image:Image",
        "image",
        {
            "imageName": f"registry.example.com/shop:{tag}",
            "login": Output.secret(f"login-{tag}"),
            "repoDigest": None,
        },
        ResourceOptions(version=VERSIONS["docker"], **options),
    )


def _everything() -> None:
    """Every option that a state records."""
    cluster = pulumi.ProviderResource(
        "kubernetes", "cluster", {"context": "here"}, ResourceOptions(version="4.32.0")
    )
    outer = _Component("outer", ResourceOptions(providers=[cluster]))
    inner = _Component("inner", ResourceOptions(parent=outer))
    image = _image("1")
    base = _thing("base", {"data": {"a": 1, "b": [True, None, 2.5]}}, parent=inner)
    _thing(
        "options",
        {
            "data": base.urn,
            "secret": Output.secret({"deep": [{"token": "hidden-token"}]}),
            "plain": {"inner": Output.secret("hidden-too")},
        },
        provider=cluster,
        protect=True,
        retain_on_delete=True,
        deleted_with=base,
        depends_on=[image, inner],
        ignore_changes=["ignored"],
        replace_on_changes=["never"],
        custom_timeouts=pulumi.CustomTimeouts(create="90s", update="5m", delete="1h"),
        additional_secret_outputs=["plain"],
        delete_before_replace=True,
        aliases=[pulumi.Alias(name="formerly")],
    )
    read = pulumi.CustomResource(
        "kubernetes:core/v1:ConfigMap",
        "read",
        {},
        ResourceOptions(id="somebody/elses", version=VERSIONS["kubernetes"]),
    )
    inner.register_outputs({"password": Output.secret("of the component"), "read": read.urn})
    outer.register_outputs({})
    pulumi.export("plain", {"list": [1, "two", {"three": True}]})
    pulumi.export("hidden", Output.secret({"token": "of the stack"}))


def _something_else() -> None:
    def never(_: pulumi.ResourceHookArgs) -> None:
        """A hook whose code is gone when its resource is deleted."""

    _image("2")
    hook = pulumi.ResourceHook("gone", never)
    _thing(
        "new",
        {"data": "new"},
        hooks=pulumi.ResourceHookBinding(before_delete=[hook]),
    )
    _thing("options", {"data": "other"}, protect=True, retain_on_delete=True)


def test_the_state_after_a_replay_is_the_state_that_was_recorded(stack: Stack) -> None:
    first = stack.deploy(_everything)
    recorded = stack.state()
    stack.deploy(_something_else)
    stack.journal.with_name("tree").write_text("changed since")
    planned = stack.plan(first)
    planned.require()
    assert [item.label for item in planned.deletes] == ["ConfigMap new"]
    outcome = stack.restore(planned)
    assert outcome.succeeded, outcome.failures
    restored = stack.state()
    assert restored.keys() == recorded.keys()
    ids = {
        f"{urn}::{item['id']}": f"{urn}::{recorded[urn]['id']}"
        for urn, item in restored.items()
        if item["type"].startswith("pulumi:providers:")
    }
    for urn, item in restored.items():
        if item["type"].startswith("pulumi:providers:"):
            continue
        found = {**item, "provider": ids.get(item.get("provider", ""), "")}
        expected = {"provider": "", **recorded[urn]}
        if item["type"].endswith(":Image"):
            # What an update leaves alone is recorded without them.
            expected.pop("propertyDependencies")
        assert found == expected, urn
    # An image is not built; its record is the release's.
    assert not [step for step in stack.steps() if "Image" in step]
    stack.journal.with_name("tree").unlink()
    assert set(stack.preview(_everything)) == {"same"}


@pytest.mark.parametrize("between", ["another", "none"])
def test_after_a_rollback_the_releases_program_builds_nothing(stack: Stack, between: str) -> None:
    class Grouped(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("shop:till:Grouped", "group")

    def building(tag: str) -> Callable[[], None]:
        def program() -> None:
            group = Grouped()
            built = _image(tag, parent=group, additional_secret_outputs=["login"])
            _thing("web", {"data": tag}, depends_on=[built])

        return program

    first = stack.deploy(building("1"))
    recorded = stack.state()
    stack.deploy(
        building("2") if between == "another" else lambda: (_thing("web", {"data": 2}), None)[1]
    )
    planned = stack.plan(first)
    assert stack.session.preview(
        program=registering(planned), exclude=planned.preview_exclude, refresh=True
    )
    outcome = stack.restore(planned)
    assert outcome.succeeded, outcome.failures
    assert stack.steps() == ["update ConfigMap web"]
    image = next(urn for urn in recorded if urn.endswith("::image"))
    restored = stack.state()[image]
    for key in ("id", "inputs", "outputs", "parent"):
        assert restored[key] == recorded[image][key]
    assert "login-1" not in json.dumps(stack.session.export()), "a secret is one in the state"
    assert set(stack.preview(building("1"))) == {"same"}
    assert stack.preview(building("2"))["update"] == 2


def test_nothing_is_deleted_before_what_was_restored_serves(stack: Stack) -> None:
    first = stack.deploy(lambda: (_thing("old", {"data": 1}), None)[1])
    stack.deploy(lambda: (_thing("new", {"data": 2}), None)[1])
    planned = stack.plan(first)
    seen: list[list[str]] = []

    def serves_later() -> None:
        time.sleep(0.3)
        seen.append(stack.steps())

    assert stack.session.preview(program=registering(planned, serves_later), refresh=True)
    assert seen == [], "a preview waits for nothing"
    outcome = stack.restore(planned, serves_later)
    assert outcome.succeeded, outcome.failures
    assert seen == [["create ConfigMap old"]]
    assert stack.steps() == ["create ConfigMap old", "delete ConfigMap new"]


def test_what_never_serves_fails_the_update_and_nothing_is_deleted(stack: Stack) -> None:
    first = stack.deploy(lambda: (_thing("old", {"data": 1}), None)[1])
    stack.deploy(lambda: (_thing("new", {"data": 2}), None)[1])
    outcome = stack.restore(stack.plan(first), lambda: "pod web-1 ends with exit code 1")
    assert not outcome.succeeded
    assert [item.message for item in outcome.failures] == ["pod web-1 ends with exit code 1"]
    assert stack.steps() == ["create ConfigMap old"]
    # Once it does, nothing is in the way of doing it again.
    assert stack.restore(stack.plan(first), lambda: None).succeeded
    assert stack.steps() == ["delete ConfigMap new"]


def test_a_kept_secret_is_in_the_settings_that_are_recorded(stack: Stack) -> None:
    hidden = ConfigValue("old-password", secret=True)
    session = stack.session
    for value in (hidden, ConfigValue("new-password", secret=True)):
        outcome = session.update(
            program=lambda: None, message="deploy", config={"shop:password": value}
        )
        assert outcome.succeeded
    recorded = stack.release(1).config
    swaps = [("old-password", "new-password")]
    kept = kept_settings(recorded, swaps, session.decrypted, session.encrypted)
    assert session.update(program=lambda: None, message="back", config=kept).succeeded
    newest = session.store.releases(limit=1)[0]
    assert session.decrypted(newest.config) == {"shop:password": "new-password"}
    assert "new-password" not in repr(newest.config)


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_checkpoint_is_read_however_the_backend_packs_it(stack: Stack, packed: str) -> None:
    stack.deploy(lambda: pulumi.export("word", Output.secret("hidden")))
    release = stack.session.store.releases(limit=1)[0]
    recorded = stack.session.store.recorded(release)
    assert recorded is not None
    path = Path(recorded.place)
    if packed:
        path.with_name(path.name + packed).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    loaded = checkpoint.load(stack.session, release)
    assert checkpoint.plain(loaded.outputs["word"]) == "hidden"


def test_a_checkpoint_packed_with_zstd_is_read_by_the_cli(stack: Stack) -> None:
    packing = {**stack.session.environment, "PULUMI_DIY_BACKEND_ZSTD": "true"}
    session = Session.open("till", stack.session.directory, packing)
    done = session.update(
        program=lambda: pulumi.export("word", Output.secret("hidden")), message="packed"
    )
    assert done.succeeded
    release = session.store.releases(limit=1)[0]
    recorded = session.store.recorded(release)
    assert recorded is not None
    assert recorded.ending == ".json.zst"
    assert checkpoint.plain(checkpoint.load(session, release).outputs["word"]) == "hidden"


@pytest.mark.parametrize("here", [True, False], ids=["here", "by the CLI"])
def test_decrypting_leaves_nothing_behind(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, here: bool
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o700)
    monkeypatch.setattr("aegis_deploy.common.temp_dir.directory", lambda: scratch)
    first = stack.deploy(lambda: pulumi.export("word", Output.secret("hidden-word")))
    modes: list[int] = []
    words: list[str] = []
    run = stack.session.engine.run

    def watching(arguments: Any, **options: Any) -> Any:
        words.extend(arguments)
        modes.extend(path.stat().st_mode & 0o777 for path in scratch.iterdir())
        for path in scratch.rglob("*"):
            assert not path.is_file() or b"hidden-word" not in path.read_bytes()
        return run(arguments, **options)

    monkeypatch.setattr(stack.session.engine, "run", watching)
    if not here:
        # As with a key that only the CLI can use.
        monkeypatch.setattr(Session, "cipher", lambda *_, **__: None)
    read = checkpoint.load(stack.session, stack.release(first))
    assert checkpoint.plain(read.outputs["word"]) == "hidden-word"
    assert modes == ([] if here else [0o700])
    assert not list(scratch.iterdir())
    assert "hidden-word" not in " ".join(words)


def test_another_passphrase_is_named_as_the_cause(stack: Stack) -> None:
    first = stack.deploy(lambda: pulumi.export("word", Output.secret("hidden")))
    wrong = {**stack.session.environment, "PULUMI_CONFIG_PASSPHRASE": "another"}
    session = Session.open("till", stack.session.directory, wrong)
    with pytest.raises(Exception, match="passphrase"):
        checkpoint.load(session, stack.release(first))


def test_an_unprotected_release_does_not_hide_that_something_is_protected(stack: Stack) -> None:
    first = stack.deploy(lambda: (_thing("one", {"data": 1}), None)[1])

    def more() -> None:
        _thing("one", {"data": 1})
        _thing("two", {"data": 2}, protect=True)
        _thing("three", {"data": 3})

    stack.deploy(more)
    planned = stack.plan(first)
    planned.require()
    assert [it.resource for it in planned.stays] == ["ConfigMap two"]
    assert stack.restore(planned).succeeded
    assert stack.steps() == ["delete ConfigMap three"]
    (kept,) = [it for urn, it in stack.state().items() if urn.endswith("::two")]
    assert kept["protect"] is True


def test_a_renamed_resource_keeps_its_object(stack: Stack) -> None:
    first = stack.deploy(lambda: (_thing("old", {"data": 1}), None)[1])
    recorded = json.dumps(stack.state(), sort_keys=True)
    alias = [pulumi.Alias(name="old")]
    stack.deploy(lambda: (_thing("new", {"data": 1}, aliases=alias), None)[1])
    planned = stack.plan(first)
    assert planned.deletes == ()
    outcome = stack.restore(planned)
    assert outcome.succeeded, outcome.failures
    assert stack.steps() == []
    assert json.dumps(stack.state(), sort_keys=True) == recorded


def test_a_replay_that_fails_says_what_failed_once(stack: Stack) -> None:
    def several(data: int) -> Callable[[], None]:
        def program() -> None:
            base = _thing("base", {"data": data})
            for place in range(5):
                _thing(f"more-{place}", {"data": data}, depends_on=[base])

        return program

    first = stack.deploy(several(1))
    stack.deploy(several(2))
    stack.journal.with_name("fail").write_text("update ConfigMap")
    outcome = stack.restore(stack.plan(first))
    assert not outcome.succeeded
    assert [item.message for item in outcome.failures] == [
        "update ConfigMap fails, as the test asks"
    ]
    assert "Traceback" not in outcome.text
    stack.journal.with_name("fail").unlink()
    assert stack.restore(stack.plan(first)).succeeded
    assert len(stack.steps()) == 6
