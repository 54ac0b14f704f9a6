"""Which secrets a replay would change, and keeping the current value of some."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.model.signatures import SIGNATURE
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import Checkpoint, parse, plain
from tests.unit.aegis_deploy.states import CONFIG_KIND, SECRET_KIND, made, secret, state, thing, urn

OLD, NEW = "old-password", "new-password"
WEB = "kubernetes:apps/v1:Deployment"


def packed(text: str) -> str:
    """A text in base64."""
    return base64.b64encode(text.encode()).decode()


def changes(planned: Replay) -> set[tuple[str, str]]:
    """The paths that change, and how."""
    return {(item.path, item.change) for item in planned.secrets}


def inputs(planned: Replay, name: str) -> Any:
    """What is registered for a resource, out of the envelopes."""

    def opened(value: Any) -> Any:
        value = plain(value)
        if isinstance(value, dict):
            return {key: opened(inner) for key, inner in value.items()}
        return [opened(inner) for inner in value] if isinstance(value, list) else value

    return opened(dict(next(it for it in planned.resources if it.name == name).inputs))


def vault(**data: str) -> Any:
    """A Secret whose data are secret."""
    return thing(SECRET_KIND, "vault", {"data": secret({k: packed(v) for k, v in data.items()})})


def test_each_secret_that_differs_is_listed_by_its_path_and_never_shown() -> None:
    before = thing(
        CONFIG_KIND,
        "a",
        {"deep": [{"same": secret("s"), "token": secret(OLD)}], "old": secret("only")},
    )
    after = thing(
        CONFIG_KIND,
        "a",
        {"deep": [{"same": secret("s"), "token": secret(NEW)}], "new": secret("only")},
    )
    planned = plan(made(before), made(after))
    assert changes(planned) == {
        ("deep[0].token", "changed"),
        ("old", "added"),
        ("new", "removed"),
    }
    assert not any(word in repr(planned) for word in (OLD, NEW, "only"))


def test_the_data_of_a_secret_are_secret_in_an_envelope_or_not() -> None:
    before = thing(SECRET_KIND, "vault", {"stringData": {"PASSWORD": OLD}})
    after = thing(SECRET_KIND, "vault", {"stringData": {"PASSWORD": NEW}})
    assert changes(plan(made(before), made(after))) == {("stringData.PASSWORD", "changed")}


@pytest.mark.parametrize("key", ["PASSWORD", "data.PASSWORD", "Secret vault:data.PASSWORD"])
def test_a_secret_is_kept_by_its_path_or_the_end_of_it(key: str) -> None:
    planned = plan(
        made(vault(PASSWORD=OLD, B="b")), made(vault(PASSWORD=NEW, B="c")), Choices(keep=[key])
    )
    assert inputs(planned, "vault")["data"] == {"PASSWORD": packed(NEW), "B": packed("b")}
    assert {item.path: item.kept for item in planned.secrets} == {
        "data.PASSWORD": True,
        "data.B": False,
    }


def test_a_kept_value_is_kept_wherever_it_occurs() -> None:
    def users(word: str) -> list[Any]:
        return [
            vault(PASSWORD=word, URL=f"postgres://web:{word}@db"),
            thing(CONFIG_KIND, "a", {"nested": {"list": [secret(f"token-{word}")]}}),
            thing(CONFIG_KIND, "open", {"data": {"args": f"--password={word}"}}),
        ]

    planned = plan(
        made(*users(OLD), outputs={"login": secret({"password": OLD})}),
        made(*users(NEW)),
        Choices(keep=["PASSWORD"]),
    )
    data = inputs(planned, "vault")["data"]
    assert data == {"PASSWORD": packed(NEW), "URL": packed(f"postgres://web:{NEW}@db")}
    assert inputs(planned, "a")["nested"]["list"] == [f"token-{NEW}"]
    assert inputs(planned, "open")["data"]["args"] == f"--password={NEW}"
    assert plain(planned.outputs["login"]) == {"password": NEW}
    nested = next(it for it in planned.resources if it.name == "a").inputs["nested"]["list"][0]
    assert SIGNATURE in nested, "a secret stays one"


def test_a_short_value_is_kept_in_its_own_resource_alone() -> None:
    def two(word: str) -> list[Any]:
        return [vault(PIN=word), thing(CONFIG_KIND, "a", {"other": secret("12")})]

    planned = plan(made(*two("12")), made(*two("34")), Choices(keep=["PIN"]))
    assert inputs(planned, "vault")["data"] == {"PIN": packed("34")}
    assert inputs(planned, "a")["other"] == "12"


def hashed(word: str, mark: str) -> list[Any]:
    """A Secret named by its content's hash, and a Deployment that reads it."""
    name = f"api-secret-{mark}"
    reads = {"spec": {"envFrom": [{"secretRef": {"name": name}}]}}
    return [
        thing(SECRET_KIND, name, {"data": secret({"TOKEN": packed(word)}), "immutable": True}),
        thing(WEB, "web", reads, dependencies=[urn(SECRET_KIND, name)]),
    ]


def test_a_secret_named_by_its_hash_is_the_same_secret_with_another_content() -> None:
    planned = plan(made(*hashed(OLD, "aaaa1111")), made(*hashed(NEW, "bbbb2222")))
    assert changes(planned) == {("data.TOKEN", "changed")}


def test_secrets_of_other_names_are_other_secrets() -> None:
    one, two = (
        thing(SECRET_KIND, f"web-{name}", {"data": secret({"TOKEN": packed(word)})})
        for name, word in (("login", OLD), ("signing", NEW))
    )
    planned = plan(made(one), made(two))
    assert changes(planned) == {("data.TOKEN", "added"), ("data.TOKEN", "removed")}


def test_what_the_engines_own_provider_is_given_is_no_secret_of_a_release() -> None:
    def connecting(key: str) -> Checkpoint:
        found = state(vault(PASSWORD=OLD))
        found["resources"][1]["inputs"]["kubeconfig"] = secret(key)
        return parse(found)

    assert plan(connecting("then"), connecting("now")).secrets == ()


def test_what_is_kept_whole_keeps_its_current_name_and_references_follow() -> None:
    planned = plan(
        made(*hashed(OLD, "aaaa1111")), made(*hashed(NEW, "bbbb2222")), Choices(keep=["TOKEN"])
    )
    now = "api-secret-bbbb2222"
    kept, web = planned.resources
    assert kept.urn == urn(SECRET_KIND, now)
    assert kept.object_name == now
    assert web.inputs["spec"]["envFrom"] == [{"secretRef": {"name": now}}]
    assert web.dependencies == (urn(SECRET_KIND, now),)
    assert planned.deletes == ()


def test_an_autonamed_secret_that_is_kept_whole_keeps_its_current_object() -> None:
    def autonamed(word: str, mark: str) -> list[Any]:
        name = {"metadata": {"name": f"vault-{mark}", "namespace": "shop"}}
        reads = {"spec": {"secretRef": f"vault-{mark}"}}
        return [
            thing(SECRET_KIND, "vault", {**name, "data": secret({"TOKEN": packed(word)})}),
            thing(WEB, "web", reads),
        ]

    planned = plan(
        made(*autonamed(OLD, "1111")), made(*autonamed(NEW, "2222")), Choices(keep=["TOKEN"])
    )
    assert [it.inputs["metadata"]["name"] for it in planned.resources] == ["vault-2222", "web"]
    assert inputs(planned, "web")["spec"] == {"secretRef": "vault-2222"}


@pytest.mark.parametrize(
    ("before", "after", "key", "says"),
    [
        ({"A": OLD}, {"A": NEW}, "B", "data.A"),
        ({"A": OLD}, {"A": OLD}, "A", "no secret would change"),
        ({"A": OLD}, {}, "A", "only one of the two"),
        ({}, {"A": NEW}, "A", "only one of the two"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    before: dict[str, str], after: dict[str, str], key: str, says: str
) -> None:
    with pytest.raises(AegisError) as refused:
        plan(made(vault(**before)), made(vault(**after)), Choices(keep=[key]))
    assert says in refused.value.why
    assert refused.value.code is ExitCode.USAGE
    assert not any(word in str(refused.value) for word in (OLD, NEW))
