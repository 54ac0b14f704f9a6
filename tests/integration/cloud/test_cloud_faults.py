"""Pulumi Cloud that fails, or gives less than was asked for: said clearly, and nothing is lost."""

from __future__ import annotations

import pytest

from aegis_deploy.backend import cloud_api
from aegis_deploy.backend.cloud_store import ServiceStore
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import stack_history
from tests.integration.cloud_service import TOKEN, Asked, Cloud
from tests.integration.cloud_shop import (
    BARE,
    Shop,
    with_program,
)
from tests.integration.cloud_stacks import Refused
from tests.integration.shop import objects

pytestmark = pytest.mark.integration


class TestTheServiceFails:
    """It is said clearly, and nothing is lost."""

    def test_a_token_that_has_expired_is_said_to_be_unknown(self, shop: Shop) -> None:
        session = shop.stand.open()
        session.update(program=objects("a"), message="first")
        del shop.cloud.users[TOKEN]
        assert shop.aegis("history") == ExitCode.REFUSED
        assert "does not know who you are" in shop.said
        assert "pulumi login" in shop.said
        with pytest.raises(AegisError, match="does not know who you are"):
            session.update(program=objects("a", "b"), message="second")
        shop.cloud.users[TOKEN] = "ann"
        assert [it.message for it in stack_history.releases(session)] == ["first"]

    def test_one_that_answers_5xx_is_asked_again_and_then_told_of(
        self, service: Cloud, store: ServiceStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cloud_api, "PATIENCE", cloud_api.PATIENCE.new(backoff_factor=0))
        failed: list[Asked] = []

        def broken(asked: Asked) -> None:
            failed.append(asked)
            raise Refused(503, "Service Unavailable")

        def broken_at_first(asked: Asked) -> None:
            if len(failed) < 2:
                broken(asked)

        service.fault = broken_at_first
        assert store.releases() == []
        assert len(failed) == 2
        service.fault = broken
        with pytest.raises(AegisError, match="does not work just now") as raised:
            store.releases()
        assert "503: Service Unavailable" in raised.value.why

    def test_an_update_goes_on_after_a_moment_without_it(self, shop: Shop) -> None:
        session = shop.stand.open()
        failed: list[Asked] = []

        def away(asked: Asked) -> None:
            if asked.path.endswith("/journalentries") and len(failed) < 2:
                failed.append(asked)
                raise Refused(502, "Bad Gateway")

        shop.cloud.fault = away
        outcome = session.update(program=objects("a"), message="first")
        assert outcome.succeeded, outcome.why
        assert len(failed) == 2
        assert shop.live() == ["a"]

    def test_a_deploy_whose_end_it_was_not_told_of_is_ended_and_rolled_back(
        self, shop: Shop
    ) -> None:
        with_program(shop.stand)
        assert shop.deploys("v1") == ExitCode.OK, shop.said
        refused: list[str] = []

        def deaf(asked: Asked) -> None:
            told = asked.path.endswith(("/journalentries", "/complete"))
            if told and (refused or "create" in asked.raw.decode()):
                refused.append(asked.path)
                if asked.path.endswith("/complete"):
                    shop.cloud.fault = None
                raise Refused(400, "Bad Request: try later")

        shop.cloud.fault = deaf
        assert shop.deploys("v2") == ExitCode.ROLLED_BACK, shop.said
        assert refused
        assert shop.live() == ["web-v1"]
        results = [(it.kind, it.result) for it in stack_history.releases(shop.stand.open())]
        assert results[0] == ("update", "succeeded")
        assert ("update", "failed") in results
        assert all(result != "in-progress" for _, result in results)


def test_a_history_longer_than_a_page_of_the_service_is_read_whole(
    service: Cloud, store: ServiceStore
) -> None:
    stack = service.stacks[BARE]
    for number in range(5):
        update = stack.create("update", {"metadata": {"message": str(number)}}, "ann")
        stack.start(update.id, {})
        stack.settle(update, "succeeded")
    service.page_limit = 2
    assert [it.number for it in store.releases()] == [5, 4, 3, 2, 1]
    assert [it.number for it in store.releases(3)] == [5, 4, 3]
