"""Somebody types `kubectl` in the middle of a deploy or of a rollback.

What was deployed is what runs in the end, or the verified release before it; the next deploy works.
`make faults` runs all of it, `make test` what differs most.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.faulty_stand import DEPLOY, ROLLBACK, Faulty, faulty, require_served
from tests.series import every


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty(tmp_path_factory.mktemp("by-hand")) as made:
        yield made


@pytest.fixture
def it(stand: Faulty) -> Faulty:
    stand.mend()
    return stand


def test_an_image_set_during_a_deploy_is_not_verified_and_goes(it: Faulty) -> None:
    other, version = it.image("other"), it.prepare(DEPLOY)
    with it.busy() as seen:
        running = it.mid_flight(DEPLOY, version)
        it.kubectl("set", "image", "deployment/web", f"web={other}")
        assert running.wait() == 4, running.text
    require_served(seen, "set image during a deploy")
    assert "somebody changed it" in running.text
    assert other in running.text
    assert "kubectl-set" in running.text
    assert "it is not held to be bad" in running.text
    it.goes_on(it.good, version)


@every
def test_an_image_set_during_a_rollback_is_overruled(it: Faulty) -> None:
    other, version = it.image("other"), it.prepare(ROLLBACK)
    with it.busy() as seen:
        running = it.mid_flight(ROLLBACK, version)
        it.kubectl("set", "image", "deployment/web", f"web={other}")
        assert running.wait() == 0, running.text
    require_served(seen, "set image during a rollback")
    assert "it is restored once more" in running.text
    it.goes_on(version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_pods_scaled_by_hand_are_told_of_and_put_back(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.mid_flight(what, version)
        it.kubectl("scale", "deployment/web", "--replicas=3")
        assert running.wait() == 0, running.text
        assert "spec.replicas is 3, 2 was declared" in running.text
        it.stack.aegis("drift", "--fix", "--yes")
    require_served(seen, f"scale during a {what}")
    it.goes_on(version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_a_deployment_that_is_deleted_comes_back(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as (deleted, other):
        running = it.mid_flight(what, version)
        it.kubectl("delete", "deployment", "web")
        assert running.wait() == (4 if what == DEPLOY else 0), running.text
    # Whoever deletes all pods takes the service away; nothing else is touched.
    print(f"deleted: {len(deleted.failures)} of {deleted.total} failed")  # noqa: T201
    require_served([other], f"delete deployment during a {what}")
    assert "somebody deleted" in running.text
    if what == DEPLOY:
        it.goes_on(it.good, version)
    else:
        it.goes_on(version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_settings_that_are_deleted_come_back(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.begin(what)
        settings = f"web-{version}"
        it.until(running, lambda: settings in it.stack.live("configmap"), "its settings")
        it.kubectl("delete", "configmap", settings)
        code = running.wait()
    require_served(seen, f"delete configmap during a {what}")
    assert code == (4 if what == DEPLOY else 0), running.text
    assert f"somebody deleted ConfigMap {settings}" in running.text
    if what == DEPLOY:
        it.goes_on(it.good, version)
    else:
        it.goes_on(version)
