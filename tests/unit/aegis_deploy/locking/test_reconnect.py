"""Which failures are refused credentials."""

from __future__ import annotations

import pytest

from aegis_deploy.locking.reconnect import is_refused
from aegis_deploy.model.events import UpdateFailure
from tests.unit.aegis_deploy.stage import outcome, step


@pytest.mark.parametrize(
    "said",
    [
        "the server has asked for the client to provide credentials",
        "Unauthorized",
        'configmaps "a" is forbidden: User "alice" cannot get resource "configmaps"',
        "api error InvalidClientTokenId: The security token included in the request is invalid.",
        "ExpiredToken: The security token included in the request is expired",
        "googleapi: Error 403: Request had insufficient authentication scopes",
        "oauth2: cannot fetch token: 400 Bad Request {'error': 'invalid_grant'}",
        "StatusCode: 401, RequestID: 7",
    ],
)
def test_refused_credentials_are_told_from_what_a_provider_says(said: str) -> None:
    assert is_refused(outcome(False, failures=(UpdateFailure("urn:a", said),)))


@pytest.mark.parametrize(
    "said",
    [
        "dial tcp 10.0.0.1:6443: connect: connection refused",
        'Deployment "a" is invalid: spec.replicas: Invalid value: -1',
        "timed out waiting for 14013 pods",
        'pods "web" is forbidden: exceeded quota: small, requested: pods=1',
        'pods "web" is forbidden: violates PodSecurity "restricted:latest"',
    ],
)
def test_other_failures_are_not(said: str) -> None:
    assert not is_refused(outcome(False, failures=(UpdateFailure("urn:a", said),)))


def test_an_update_that_changed_something_was_let_in() -> None:
    failures = (UpdateFailure("urn:a", "Unauthorized"),)
    assert not is_refused(outcome(False, failures=failures, steps=(step(),)))
    assert not is_refused(outcome(True))
