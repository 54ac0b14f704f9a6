"""What a deploy talks to goes away in its middle: API server, etcd, registry, Docker, the node.

Each ends as it should have, or with the verified release and a clear message; nothing is lost, and
the next deploy works. The lab's own daemons are ended and started, so nothing else may use the lab
meanwhile. `make faults` runs all of it, `make test` what is quick.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from lab import network_policies, outage
from tests.e2e.doomed_stand import WEB
from tests.e2e.faulty_stand import DEPLOY, ROLLBACK, Faulty, faulty, require_served
from tests.e2e.knock import CLOSED, OPEN, knock
from tests.series import every

# The daemons that are started again are to outlive the tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
STANDSTILL_SECONDS = 20
OUTAGE_SECONDS = 5
FIRST_OBJECTS_SECONDS = 1


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty(tmp_path_factory.mktemp("faulty")) as made:
        yield made


@pytest.fixture
def it(stand: Faulty) -> Faulty:
    stand.mend()
    stand.steady()
    return stand


def finishes(it: Faulty, code: int, said: str, what: str, version: str) -> None:
    """Require an end that may be: it went through, or back; the same again then works."""
    if code == 0:
        it.goes_on(version)
        return
    assert (what, code) == (DEPLOY, 4), said
    assert "it is not held to be bad" in said
    it.goes_on(it.good, version)


@pytest.mark.parametrize("what", [DEPLOY, pytest.param(ROLLBACK, marks=every)])
def test_an_api_server_that_stands_still_loses_nothing(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.mid_flight(what, version)
        with outage.standing_still(it.lab, "apiserver"):
            time.sleep(STANDSTILL_SECONDS)
            assert running.process.poll() is None, running.text
        code = running.wait()
    require_served(seen, f"API server stands still during a {what}")
    finishes(it, code, running.text, what, version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_an_api_server_that_goes_as_objects_are_made_loses_nothing(it: Faulty, what: str) -> None:
    # Whether the last of them was made nobody may have heard.
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.setting_out(what)
        time.sleep(FIRST_OBJECTS_SECONDS)
        with outage.ended(it.lab, "apiserver"):
            time.sleep(OUTAGE_SECONDS)
        code = running.wait()
    require_served(seen, f"API server started anew at the beginning of a {what}")
    finishes(it, code, running.text, what, version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_an_api_server_that_is_started_anew_loses_nothing(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.mid_flight(what, version)
        with outage.ended(it.lab, "apiserver"):
            time.sleep(OUTAGE_SECONDS)
        code = running.wait()
    require_served(seen, f"API server started anew during a {what}")
    finishes(it, code, running.text, what, version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_an_etcd_that_is_started_anew_loses_nothing(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.mid_flight(what, version)
        outage.restart(it.lab, "etcd", grace=0)
        code = running.wait()
    require_served(seen, f"etcd started anew during a {what}")
    finishes(it, code, running.text, what, version)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
def test_a_node_that_is_started_anew_keeps_its_pods(it: Faulty, what: str) -> None:
    version = it.prepare(what)
    with it.busy() as seen:
        running = it.mid_flight(what, version)
        outage.restart(it.lab, "kubelet", "containerd", grace=0)
        code = running.wait()
    require_served(seen, f"kubelet and containerd started anew during a {what}")
    finishes(it, code, running.text, what, version)


def test_what_nobody_judges_is_closed_and_what_is_connected_goes_on(it: Faulty) -> None:
    host = it.stack.live("service")[WEB]["spec"]["clusterIP"]
    ready = it.pods(it.good, ready=True)
    kept = httpx.Limits(keepalive_expiry=None)
    client = httpx.Client(base_url=f"http://{host}", trust_env=False, timeout=30, limits=kept)
    with client as connected:
        assert connected.get("/").is_success
        with outage.ended(it.lab, network_policies.NAME):
            assert knock(host, 80, "TCP", OUTAGE_SECONDS) == CLOSED
            assert connected.get("/").is_success
            # The node's own probes are not judged.
            assert it.pods(it.good, ready=True) == ready
    assert knock(host, 80, "TCP", STANDSTILL_SECONDS) == OPEN
    it.is_whole(it.good)


@every
@pytest.mark.parametrize("what", [DEPLOY, ROLLBACK])
@pytest.mark.parametrize("how", [outage.ended, outage.standing_still])
def test_an_api_server_that_is_gone_for_good_is_left_to_recover(
    it: Faulty, what: str, how: object
) -> None:
    version, good = it.prepare(what), it.good
    assert callable(how)
    with it.busy() as seen:
        running = it.mid_flight(what, version)
        with how(it.lab, "apiserver"):
            code = running.wait()
            assert code == 1, running.text
            assert "stopped answering" in running.text
            assert "aegis recover --stack" in running.text
            # Meanwhile nothing is begun, and it is said why.
            refused = it.stack.aegis("deploy", "--yes", expect=None)
            assert refused.code != 0
            assert "does not answer" in refused.output
            back = time.time()
        it.stack.aegis("recover")
    # A node that could not say for 40 s that it lives is called dead by Kubernetes once the API
    # server is back, and Services lose their endpoints until it is heard. Not before.
    late = [line for one in seen for line in one.failures if float(line.split()[0]) >= back]
    print(f"after it came back: {len(late)} failed")  # noqa: T201
    for one in seen:
        one.requests[:] = [answer for answer in one.requests if answer.at < back]
    require_served(seen, f"API server gone for good during a {what}")
    now = it.stack.current()["version"]
    assert now in {good, version}
    it.goes_on(now)


@every
def test_a_registry_that_comes_back_soon_only_delays(it: Faulty) -> None:
    image = it.image("soon")
    it.configure(image=image)
    try:
        with it.busy() as seen, outage.ended(it.lab, "registry"):
            version = it.version()
            # It would be refused before anything is changed: only nodes may reach a registry.
            running = it.begin(DEPLOY, "--force")
            it.until(running, lambda: it.pods(version) > 0, f"a pod of {version}")
        # It is back here.
        code = running.wait()
        require_served(seen, "registry away during a deploy")
        assert code == 0, running.text
        it.good = version
        it.is_whole(version)
    finally:
        it.configure(image="")


@every
def test_a_registry_that_stays_away_is_not_the_release_s_fault(it: Faulty) -> None:
    image, good = it.image("late"), it.good
    it.configure(image=image)
    try:
        version = it.version()
        with it.busy() as seen, outage.ended(it.lab, "registry"):
            refused = it.stack.aegis("deploy", "--yes", expect=3)
            assert "the registry does not answer" in refused.output
            running = it.begin(DEPLOY, "--force")
            code = running.wait()
        require_served(seen, "registry away for the whole of a deploy")
        assert code == 4, running.text
        assert "the registry did not hand out the image" in running.text
        it.goes_on(good, version)
    finally:
        it.configure(image="")


@every
def test_an_image_that_the_registry_does_not_have_is_refused(it: Faulty) -> None:
    missing = f"{it.image('there').partition('@')[0]}@sha256:{'0' * 64}"
    it.configure(image=missing)
    try:
        it.version()
        refused = it.stack.aegis("deploy", "--yes", expect=3)
        assert f"its registry does not have {missing}" in refused.output
    finally:
        it.configure(image="")
    it.stack.choose(it.good)
    it.is_whole(it.good)


@every
def test_a_docker_daemon_that_is_away_ends_a_build_before_anything_runs(it: Faulty) -> None:
    good = it.good
    it.configure(build="yes")
    try:
        version = it.version()
        with it.busy() as seen:
            with outage.ended(it.lab, "dockerd"):
                refused = it.stack.aegis("deploy", "--yes", expect=3)
            assert "no Docker daemon answers" in refused.output
            it.is_whole(good)
            it.deploys(version)
        require_served(seen, "Docker daemon away at a build")
        it.is_whole(version)
    finally:
        it.configure(build="")
