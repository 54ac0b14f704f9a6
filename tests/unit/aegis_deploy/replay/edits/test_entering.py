"""Objects that a program let go of, and that a replay takes back."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.replay.planning import plan
from tests.unit.aegis_deploy.states import CONFIG_KIND, made, secret, state, thing, urn


class TestRetained:
    """Objects that the cluster still has, since the program let go of them without deleting."""

    OLD: Any = thing(CONFIG_KIND, "souvenir", {"data": {"of": secret("v1")}}, retainOnDelete=True)

    def test_it_is_entered_into_the_state_and_not_created(self) -> None:
        planned = plan(made(self.OLD), made())
        assert planned.left == ("ConfigMap souvenir",)
        assert planned.absent == {self.OLD["urn"]}
        assert planned.exclude == (), "what was changed since is put right"
        (entered,) = planned.prepare({"deployment": state()})["deployment"]["resources"][2:]
        assert entered == self.OLD

    def test_it_is_entered_where_what_it_depends_on_is_not_there(self) -> None:
        group = thing("shop:till:Group", "group", custom=False)
        old = {**self.OLD, "dependencies": [urn(CONFIG_KIND, "gone")], "parent": group["urn"]}
        planned = plan(made(group, thing(CONFIG_KIND, "gone"), old), made())
        assert planned.absent == {old["urn"]}
        resources = planned.prepare({"deployment": state()})["deployment"]["resources"][2:]
        assert [item["urn"] for item in resources] == [group["urn"], old["urn"]]
        assert "dependencies" not in resources[1]

    @pytest.mark.parametrize(
        "now",
        [
            OLD,
            thing(CONFIG_KIND, "renamed", {"metadata": OLD["inputs"]["metadata"]}),
            {**OLD, "delete": True},
        ],
        ids=["the same", "under another name", "waiting to be deleted"],
    )
    def test_what_the_state_still_has_is_not_entered(self, now: Any) -> None:
        assert plan(made(self.OLD), made(now)).left == ()

    def test_what_would_have_been_deleted_is_created(self) -> None:
        assert plan(made(thing(CONFIG_KIND, "a")), made()).left == ()

    def test_what_is_only_read_is_read(self) -> None:
        assert plan(made({**self.OLD, "external": True}), made()).left == ()

    def test_one_of_a_provider_that_is_gone_is_not_entered(self) -> None:
        provider = "urn:pulumi:staging::shop::pulumi:providers:kubernetes::mine::7"
        assert plan(made({**self.OLD, "provider": provider}), made()).left == ()
