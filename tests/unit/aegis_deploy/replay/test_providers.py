"""Providers reach what they manage as they do now."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack.checkpoint import plain
from tests.unit.aegis_deploy.states import CONFIG_KIND, SECRET_KIND, made, secret, thing, urn

KUBERNETES, AWS = "pulumi:providers:kubernetes", "pulumi:providers:aws"


def provider(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"urn": urn(kind, "it"), "type": kind, "custom": True, "id": "2", "inputs": inputs}


def planned(before: dict[str, Any], now: dict[str, Any], **options: Any) -> Any:
    both = made(before, thing(CONFIG_KIND, "a")), made(now)
    return plan(*both, Choices(**options))


def inputs(found: Any) -> dict[str, Any]:
    it = next(item for item in found.resources if item.is_provider)
    return {name: plain(value) for name, value in it.inputs.items()}


def test_credentials_that_were_rotated_do_not_come_back() -> None:
    found = planned(
        provider(KUBERNETES, kubeconfig=secret("alice's"), enableServerSideApply="true"),
        provider(KUBERNETES, kubeconfig=secret("bob's"), enableServerSideApply="false"),
    )
    assert inputs(found) == {"kubeconfig": "bob's", "enableServerSideApply": "true"}
    assert found.connections.kept == ("provider it: kubeconfig",)
    assert found.swaps == (("alice's", "bob's"),), "the recorded settings follow"
    assert found.secrets == (), "it is none that changes"


def test_they_do_for_who_insists() -> None:
    before = provider(KUBERNETES, kubeconfig=secret("alice's"))
    now = provider(KUBERNETES, kubeconfig=secret("bob's"))
    found = planned(before, now, restore_providers=True)
    assert inputs(found) == {"kubeconfig": "alice's"}
    assert found.connections is None


@pytest.mark.parametrize(
    ("kind", "name", "kept"),
    [
        (KUBERNETES, "context", True),
        (KUBERNETES, "clusterIdentifier", True),
        (KUBERNETES, "namespace", False),
        (KUBERNETES, "suppressHelmHookWarnings", False),
        (AWS, "accessKey", True),
        (AWS, "region", False),
        (AWS, "endpoints", True),
        (AWS, "assumeRoles", True),
        (AWS, "skipMetadataApiCheck", False),
        (AWS, "defaultTags", False),
        ("pulumi:providers:vault", "address", True),
        ("pulumi:providers:cloudflare", "apiToken", True),
        ("pulumi:providers:postgresql", "password", True),
        ("pulumi:providers:postgresql", "superuser", False),
    ],
)
def test_only_what_connects_stays(kind: str, name: str, kept: bool) -> None:
    found = planned(provider(kind, **{name: "before"}), provider(kind, **{name: "now"}))
    assert inputs(found) == {name: "now" if kept else "before"}


def test_what_is_not_set_now_is_not_set_and_the_other_way_round() -> None:
    found = planned(
        provider(KUBERNETES, kubeconfig=secret("alice's")), provider(KUBERNETES, context="it")
    )
    assert inputs(found) == {"context": "it"}
    assert found.swaps == ()


def test_one_that_is_not_there_now_comes_back_as_it_was() -> None:
    before = provider(AWS, accessKey=secret("old"))
    found = plan(made(before), made())
    assert inputs(found) == {"accessKey": "old"}


def test_a_secret_setting_of_any_name_connects() -> None:
    found = planned(provider(AWS, odd=secret("before")), provider(AWS, odd=secret("now")))
    assert inputs(found) == {"odd": "now"}


def test_what_is_the_same_is_not_told() -> None:
    same = provider(KUBERNETES, kubeconfig=secret("x"), context="c")
    assert planned(same, same).connections.kept == ()


@pytest.mark.parametrize("key", ["kubeconfig", "kubernetes it:kubeconfig"])
def test_who_names_a_connection_to_be_kept_gets_what_is_kept_anyway(key: str) -> None:
    before = provider(KUBERNETES, kubeconfig=secret("alice's"))
    now = provider(KUBERNETES, kubeconfig=secret("bob's"))
    assert inputs(planned(before, now, keep=(key,))) == {"kubeconfig": "bob's"}
    with pytest.raises(AegisError, match="no secret that would change is called other"):
        planned(before, now, keep=("other",))


def test_a_part_of_a_connection_is_named_by_its_path() -> None:
    before = provider(AWS, assumeRoles=[{"roleArn": secret("old")}])
    now = provider(AWS, assumeRoles=[{"roleArn": secret("new")}])
    found = planned(before, now, keep=("assumeRoles[0].roleArn",))
    (role,) = inputs(found)["assumeRoles"]
    assert plain(role["roleArn"]) == "new"
    assert found.swaps == (("old", "new"),), "the recorded settings follow"


def test_a_secret_of_the_same_name_is_kept_as_well() -> None:
    def state(token: str) -> list[dict[str, Any]]:
        held = thing(SECRET_KIND, "a", inputs={"data": secret({"token": token})})
        return [provider(AWS, token=secret(token)), held]

    found = plan(made(*state("old-token")), made(*state("new-token")), Choices(keep=("token",)))
    kept = next(item for item in found.resources if item.type == SECRET_KIND)
    assert plain(kept.inputs["data"]) == {"token": "new-token"}
    assert inputs(found) == {"token": "new-token"}
