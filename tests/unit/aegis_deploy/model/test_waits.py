"""What has begun and not ended."""

from __future__ import annotations

from aegis_deploy.model.events import Event
from aegis_deploy.model.waits import Waits
from tests.unit.aegis_deploy.stage import step


def test_what_has_begun_is_waited_for_with_what_was_said_of_it() -> None:
    waits = Waits()
    begun = step()
    waits.note(Event("begins", step=begun, urn=begun.urn))
    assert waits.line() == "update Deployment a"
    waits.note(Event("says", urn=begun.urn, message="waiting for pods\nand more", ephemeral=True))
    waits.note(Event("says", urn="urn:other", message="nothing of it"))
    assert waits.line() == "update Deployment a (waiting for pods)"
    waits.note(Event("ends", step=begun, urn=begun.urn))
    assert waits.line() == ""


def test_what_stays_the_same_and_what_only_groups_is_not() -> None:
    waits = Waits()
    for it in (step("same"), step(custom=False)):
        waits.note(Event("begins", step=it, urn=it.urn))
    assert waits.line() == ""


def test_of_many_some_are_named() -> None:
    waits = Waits()
    for number in range(5):
        it = step(urn=f"urn:{number}", object=f"a{number}")
        waits.note(Event("begins", step=it, urn=it.urn))
    told = [f"update Deployment a{number}" for number in range(3)]
    assert waits.line() == ", ".join([*told, "and 2 more"])
