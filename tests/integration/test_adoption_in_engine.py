"""Objects that were taken out of the state and not out of the cluster, in the real engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import ResourceOptions

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.stack.session import Session
from tests.integration.accepting_provider import VERSIONS
from tests.integration.attached_providers import of_a_cluster
from tests.integration.cluster_over_http import CONFIG_MAPS, ClusterOverHttp
from tests.integration.shop import CONFIG_MAP, Stand, maps
from tests.series import every

pytestmark = pytest.mark.integration
URN = "urn:pulumi:one::shop::"
PROGRAM = f'''
import pulumi
data = pulumi.Config().require("data")
for name in ("a", "b"):
    meta = {{"name": name, "namespace": "shop"}}
    pulumi.CustomResource(
        "{CONFIG_MAP}",
        name,
        {{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {{"x": data}}}},
        pulumi.ResourceOptions(version="{VERSIONS["kubernetes"]}"),
    )
'''


def declared(data: dict[str, str], name: str | None = None) -> dict[str, Any]:
    """What a program gives for a ConfigMap."""
    metadata = {"namespace": "shop", **({} if name is None else {"name": name})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def objects(*names: str, data: str) -> Callable[[], None]:
    """A program that declares ConfigMaps."""

    def program() -> None:
        for name in names:
            options = ResourceOptions(version=VERSIONS["kubernetes"])
            pulumi.CustomResource(CONFIG_MAP, name, declared({"x": data}, name), options)

    return program


@dataclass
class Shop:
    """A stack whose objects are in a cluster.

    Attributes:
        stand: The stack.
        cluster: The cluster.
    """

    stand: Stand
    cluster: ClusterOverHttp

    @property
    def session(self) -> Session:
        """The stack, open."""
        return self.stand.open()

    def deploy(self, program: Callable[[], None]) -> None:
        """Deploy a program, and mark it as verified."""
        session = self.session
        outcome = session.update(program=program, message="deploy")
        assert outcome.succeeded, outcome.why
        verification_store.mark_verified(session, stack_history.releases(session)[0])

    def forget(self, name: str) -> None:
        """Take a ConfigMap out of the state alone, as `pulumi state delete` does."""
        path = self.stand.root / "backend" / ".pulumi" / "stacks" / "shop" / "one.json"
        written = json.loads(path.read_text())
        latest = written["checkpoint"]["latest"]
        kept = [it for it in latest["resources"] if it["urn"] != f"{URN}{CONFIG_MAP}::{name}"]
        assert len(kept) + 1 == len(latest["resources"])
        latest["resources"] = kept
        path.write_text(json.dumps(written))
        self.cluster.changes()

    def said(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
        """Run `aegis`; return its exit code and what it said."""
        capsys.readouterr()
        code = self.stand.aegis(*words)
        done = capsys.readouterr()
        return code, done.out + done.err


@pytest.fixture
def shop(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A stack without releases; its provider is the lab's stand-in."""
    cluster = ClusterOverHttp()
    try:
        cluster.place_kubeconfig(tmp_path / "kubeconfig")
        stand.set("kubernetes:kubeconfig", str(tmp_path / "kubeconfig"))
        with of_a_cluster() as at:
            stand.environment.update(at)
            stand.enter(monkeypatch)
            yield Shop(stand, cluster)
    finally:
        cluster.close()


def test_a_rollback_takes_back_what_the_cluster_has_and_makes_nothing_twice(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.deploy(objects("a", "b", data="1"))
    shop.deploy(objects("a", "b", data="2"))
    urn = f"{URN}{CONFIG_MAP}::b"
    shop.stand.pulumi("state", "delete", urn, "--stack", "one", "--yes", "--force")
    shop.cluster.changes()
    code, said = shop.said(capsys, "rollback", "--to", "1", "--yes")
    assert code == ExitCode.OK, said
    assert "adopted ConfigMap b" in said
    assert shop.cluster.data() == {"a": "1", "b": "1"}
    # Each is replaced, as its provider does, and none is made that is there: nothing fails midway.
    changes = shop.cluster.changes()
    assert sorted(changes) == ["DELETE a", "DELETE b", f"POST {CONFIG_MAPS}", f"POST {CONFIG_MAPS}"]
    assert {str(it["id"]) for it in maps(shop.session)} == {"shop/a", "shop/b"}
    code, said = shop.said(capsys, "drift")
    assert code == ExitCode.OK, said


def test_until_then_status_and_drift_say_that_it_is_missing(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.deploy(objects("a", "b", data="1"))
    shop.forget("b")
    code, said = shop.said(capsys, "status")
    line = "ConfigMap shop/b is not in the state any more, and release 1 has it"
    assert line in said
    assert "verified, but not all of it is in the state" in said
    assert "drift     YES" in said
    code, said = shop.said(capsys, "drift")
    assert code == ExitCode.DIFFERENT
    assert line in said
    code, said = shop.said(capsys, "drift", "--fix", "--yes")
    assert code == ExitCode.OK, said
    assert shop.cluster.changes() == [], "it was as it was declared"
    assert shop.said(capsys, "status")[1].count("not in the state") == 0


@every
def test_recover_takes_it_back_too(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.deploy(objects("a", "b", data="1"))
    uid = shop.cluster.uid("b")
    shop.forget("b")
    code, said = shop.said(capsys, "recover")
    assert code == ExitCode.OK, said
    assert "taken back into the state: ConfigMap b" in said
    assert "cut short" not in said
    assert shop.cluster.uid("b") == uid
    assert len(maps(shop.session)) == 2


def test_what_a_later_release_made_anew_is_known_by_that_ones_record(shop: Shop) -> None:
    def program(extra: str) -> Callable[[], None]:
        data = {"x": "1", **({extra: "1"} if extra else {})}
        options = ResourceOptions(version=VERSIONS["kubernetes"])
        return lambda: (pulumi.CustomResource(CONFIG_MAP, "a", declared(data, "a"), options), None)[
            1
        ]

    shop.deploy(program(""))
    shop.deploy(program("more"))
    shop.forget("a")
    assert shop.stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    assert shop.cluster.objects[f"{CONFIG_MAPS}/a"]["data"] == {"x": "1"}, "and not a key more"


def test_somebody_else_s_object_is_refused_before_anything_is_changed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.deploy(objects("a", "b", data="1"))
    shop.deploy(objects("a", "b", data="2"))
    shop.forget("b")
    del shop.cluster.objects[f"{CONFIG_MAPS}/b"]
    shop.cluster.put("b", "theirs")
    before = shop.session.export()
    code, said = shop.said(capsys, "rollback", "--to", "1", "--yes")
    assert code == ExitCode.REFUSED, said
    assert "ConfigMap shop/b: made" in said
    assert "kubectl-create" in said
    assert "state: nothing was changed" in said
    assert shop.cluster.changes() == []
    assert shop.cluster.data() == {"a": "2", "b": "theirs"}
    assert shop.session.export() == before


def test_what_is_gone_from_the_cluster_as_well_is_made_anew(shop: Shop) -> None:
    shop.deploy(objects("a", "b", data="1"))
    shop.deploy(objects("a", "b", data="2"))
    shop.forget("b")
    del shop.cluster.objects[f"{CONFIG_MAPS}/b"]
    assert shop.stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    assert shop.cluster.data() == {"a": "1", "b": "1"}


def test_a_preview_says_so_and_changes_nothing(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.deploy(objects("a", "b", data="1"))
    shop.deploy(objects("a", "b", data="2"))
    shop.forget("b")
    before = shop.session.export()
    code, said = shop.said(capsys, "rollback", "--to", "1", "--preview")
    assert code == ExitCode.OK, said
    assert "adopted ConfigMap b" in said
    assert "replace ConfigMap a" in said
    assert "change ConfigMap b, which is taken back into the state" in said
    code, said = shop.said(capsys, "rollback", "--to", "2", "--preview")
    assert code == ExitCode.OK, said
    assert "nothing changes" in said
    assert shop.cluster.changes() == []
    assert shop.session.export() == before


class _Group(pulumi.ComponentResource):
    def __init__(self, **options: Any) -> None:
        super().__init__("shop:index:Group", "group", None, ResourceOptions(**options))


def _grouped(place: str, data: str) -> Callable[[], None]:
    """A component of a program's own provider, with children, one of which has no name."""

    def program() -> None:
        mine = pulumi.ProviderResource(
            "kubernetes",
            "mine",
            {"kubeconfig": pulumi.Output.secret(place)},
            ResourceOptions(version=VERSIONS["kubernetes"]),
        )
        group = _Group(providers={"kubernetes": mine})
        inner = ResourceOptions(parent=group)
        first = pulumi.CustomResource(CONFIG_MAP, "named", declared({"x": data}, "named"), inner)
        pulumi.CustomResource(
            CONFIG_MAP,
            "unnamed",
            declared({"x": "same"}),
            ResourceOptions(parent=group, depends_on=[first]),
        )

    return program


def test_a_components_children_come_back_with_the_programs_own_provider(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = str(tmp_path / "kubeconfig")
    shop.deploy(_grouped(place, "1"))
    shop.deploy(_grouped(place, "2"))
    recorded = {it["urn"] for it in shop.session.resources()}
    names = set(shop.cluster.data())
    assert len(names) == 2
    state = shop.session.export()
    kept = [it for it in state["deployment"]["resources"] if it["type"] == "pulumi:pulumi:Stack"]
    shop.session.import_state({**state, "deployment": {**state["deployment"], "resources": kept}})
    # Else the ambient cluster would do as well.
    shop.stand.pulumi("config", "rm", "--stack", "one", "kubernetes:kubeconfig")
    code, said = shop.said(capsys, "rollback", "--to", "1", "--yes")
    assert code == ExitCode.OK, said
    assert set(shop.cluster.data()) == names, "the one without a name is the same one"
    assert shop.cluster.data()["named"] == "1"
    assert {it["urn"] for it in shop.session.resources()} == recorded
    assert place not in json.dumps(shop.session.export()), "a secret is one in the state"


def test_what_was_moved_to_another_stack_is_told_and_taken_back_by_who_insists(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.deploy(objects("a", "b", data="1"))
    uid = shop.cluster.uid("b")
    shop.stand.pulumi("stack", "init", "two")
    moved = f"{URN}{CONFIG_MAP}::b"
    shop.stand.pulumi("state", "move", "--source", "one", "--dest", "two", "--yes", moved)
    assert "LACKS ConfigMap shop/b" in shop.said(capsys, "status", "--no-drift")[1]
    code, said = shop.said(capsys, "rollback", "--to", "1", "--yes")
    assert code == ExitCode.OK, said
    assert "adopted ConfigMap b" in said
    assert shop.cluster.uid("b") == uid


def test_each_object_is_looked_for_in_the_cluster_of_its_own_provider(
    shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = ClusterOverHttp()
    other.place_kubeconfig(tmp_path / "other")

    def program() -> None:
        there = pulumi.ProviderResource(
            "kubernetes",
            "there",
            {"kubeconfig": str(tmp_path / "other")},
            ResourceOptions(version=VERSIONS["kubernetes"]),
        )
        given = declared({"x": "1"}, "b")
        pulumi.CustomResource(CONFIG_MAP, "b", given, ResourceOptions(provider=there))

    try:
        shop.deploy(program)
        shop.forget("b")
        # One of the same name where the stack's own settings lead to.
        shop.cluster.put("b", "theirs")
        code, said = shop.said(capsys, "rollback", "--to", "1", "--yes")
        assert code == ExitCode.OK, said
        assert "adopted ConfigMap b" in said
        assert (shop.cluster.data(), other.data()) == ({"b": "theirs"}, {"b": "1"})
    finally:
        other.close()


def test_after_a_destroy_everything_is_made_anew(shop: Shop) -> None:
    shop.deploy(objects("a", data="1"))
    shop.stand.pulumi("destroy", "--yes", "--skip-preview", "--stack", "one")
    assert shop.cluster.data() == {}
    assert stack_history.releases(shop.session)[0].operation == "destroy"
    assert shop.stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    assert shop.cluster.data() == {"a": "1"}


def test_what_a_refresh_dropped_while_it_was_away_is_taken_back(shop: Shop) -> None:
    shop.deploy(objects("a", "b", data="1"))
    path = f"{CONFIG_MAPS}/b"
    away = shop.cluster.objects.pop(path)
    shop.stand.pulumi("refresh", "--yes", "--skip-preview", "--stack", "one")
    shop.cluster.objects[path] = away
    assert len(maps(shop.session)) == 1
    assert shop.stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    assert len(maps(shop.session)) == 2
    assert shop.cluster.uid("b") == away["metadata"]["uid"]


def _program(shop: Shop, data: str) -> None:
    directory = shop.stand.root / "project"
    runtime = "runtime: {name: python, options: {virtualenv: .venv}}"
    (directory / "Pulumi.yaml").write_text(f"name: shop\n{runtime}\n")
    (directory / "__main__.py").write_text(PROGRAM)
    if not (directory / ".venv").exists():
        (directory / ".venv").symlink_to(sys.prefix)
    shop.stand.set("shop:data", data)


def test_a_deploy_takes_back_what_the_program_still_declares(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    _program(shop, "1")
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    shop.forget("b")
    _program(shop, "2")
    code, said = shop.said(capsys, "deploy", "--yes")
    assert code == ExitCode.OK, said
    assert "adopted ConfigMap b" in said
    assert shop.cluster.data() == {"a": "2", "b": "2"}
    assert len(maps(shop.session)) == 2


def test_a_deploy_leaves_what_is_declared_no_more(shop: Shop) -> None:
    _program(shop, "1")
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    shop.forget("b")
    program = shop.stand.root / "project" / "__main__.py"
    program.write_text(PROGRAM.replace('("a", "b")', '("a",)'))
    shop.stand.set("shop:data", "2")
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    assert shop.cluster.data() == {"a": "2", "b": "1"}, "whoever took it out wanted it to stay"


@every
def test_a_deploy_refuses_somebody_else_s_object_before_anything_is_changed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    _program(shop, "1")
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    shop.forget("b")
    del shop.cluster.objects[f"{CONFIG_MAPS}/b"]
    shop.cluster.put("b", "theirs")
    _program(shop, "2")
    code, said = shop.said(capsys, "deploy", "--yes")
    assert code == ExitCode.REFUSED, said
    assert shop.cluster.data() == {"a": "1", "b": "theirs"}


def test_a_part_is_recorded_as_one_and_the_next_deploy_makes_it_whole(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    _program(shop, "1")
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    _program(shop, "2")
    yes = ("--yes", "--skip-preview", "--stack", "one")
    shop.stand.pulumi("up", *yes, "--target", f"{URN}{CONFIG_MAP}::a")
    shop.stand.environment["PULUMI_OPTION_TARGET"] = f"{URN}{CONFIG_MAP}::b"
    shop.stand.pulumi("up", *yes)
    del shop.stand.environment["PULUMI_OPTION_TARGET"]
    shop.stand.pulumi("up", *yes, "--exclude", f"{URN}{CONFIG_MAP}::b")
    shop.stand.pulumi("refresh", *yes, "--target", f"{URN}{CONFIG_MAP}::a")
    shop.stand.pulumi("up", "--refresh", *yes)
    listed = [it.operation for it in stack_history.releases(shop.session)]
    assert listed == [
        "update",
        "targeted refresh",
        "targeted update",
        "targeted update",
        "targeted update",
        "update",
    ]
    # It changed nothing, and what it made whole was no release.
    (newest, *_) = stack_history.releases(shop.session)
    assert newest.unchanged
    assert not newest.verified
    code, said = shop.said(capsys, "deploy", "--yes")
    assert code == ExitCode.OK, said
    marks = [(it.number, it.verified) for it in stack_history.releases(shop.session)]
    assert marks == [(6, True), (5, False), (4, False), (3, False), (2, False), (1, True)]


@every
def test_after_a_part_with_nothing_to_change_a_whole_release_is_recorded_and_marked(
    shop: Shop,
) -> None:
    _program(shop, "1")
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    _program(shop, "2")
    shop.stand.pulumi(
        "up",
        "--yes",
        "--skip-preview",
        "--stack",
        "one",
        "--target-dependents",
        "--target",
        f"{URN}{CONFIG_MAP}::a",
        "--target",
        f"{URN}{CONFIG_MAP}::b",
    )
    assert shop.stand.aegis("deploy", "--yes") == ExitCode.OK
    found = stack_history.releases(shop.session)
    assert [(it.operation, it.verified) for it in found] == [
        ("update", True),
        ("targeted update", False),
        ("update", True),
    ]


def test_an_import_of_a_resource_is_recorded_as_one(shop: Shop) -> None:
    shop.deploy(objects("a", data="1"))
    shop.cluster.put("b", "theirs")
    words = ("import", CONFIG_MAP, "b", "shop/b", "--yes", "--skip-preview", "--stack", "one")
    shop.stand.pulumi(*words, "--generate-code=false", "--protect=false")
    newest = stack_history.releases(shop.session)[0]
    assert (newest.kind, newest.operation, newest.whole) == (
        "resource-import",
        "resource import",
        False,
    )
    # What was deployed before is the release to go back to.
    assert shop.stand.aegis("rollback", "--yes") == ExitCode.OK
    assert stack_history.releases(shop.session)[0].restores == 1
