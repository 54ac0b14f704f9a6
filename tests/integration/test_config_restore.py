"""`aegis config restore` on a settings file that a person wrote, after a rollback."""

from __future__ import annotations

import pytest
import yaml

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.history import stack_history, verification_store
from tests.integration.shop import Stand, objects

pytestmark = pytest.mark.integration

WRITTEN = """\
# Who asks for this stack: the shop's team.
config:
  shop:replicas: "2"  # enough for now
  # The gate; see the runbook.
  shop:gate:
    bakeSeconds: 0
    prometheus:
      url: http://198.18.0.9
      query: sum(rate(x[1m]))
      most: 0.5
  shop:regions:
    - north
    - {name: south, weight: 3}
"""


def test_brings_every_setting_back_and_keeps_what_a_person_wrote_beside_it(stand: Stand) -> None:
    session = stand.open()
    path = session.config_file
    before = path.read_text()
    salt = next(line for line in before.splitlines() if line.startswith("encryptionsalt"))
    token = before[before.index("  shop:token:") :]
    token = "".join(f"{line}\n" for line in token.splitlines()[:2])
    path.write_text(f"{salt}\n{WRITTEN}{token}")
    good = path.read_text()
    session.update(program=objects("a"), message="good")
    verification_store.mark_verified(session, stack_history.releases(session)[0])

    stand.pulumi("config", "set", "--stack", "one", "replicas", "9")
    stand.pulumi("config", "set", "--stack", "one", "--secret", "token", "rotated")
    stand.pulumi("config", "set", "--stack", "one", "--path", "shop:regions[1].weight", "7")
    stand.pulumi("config", "set", "--stack", "one", "surprise", "yes")
    session.update(program=objects("a", "b"), message="bad")
    assert stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK

    bad = path.read_text()
    assert stand.aegis("config", "restore", "--preview") == ExitCode.OK
    assert path.read_text() == bad
    assert stand.aegis("config", "restore") == ExitCode.OK
    restored = path.read_text()
    assert yaml.safe_load(restored) == yaml.safe_load(good), "secrets by their ciphertext"
    for line in filter(lambda line: "#" in line, WRITTEN.splitlines()):
        # The CLI writes quotes and spaces its own way as soon as it sets anything.
        assert line[line.index("#") :] in restored
