"""Which cluster each resource is in, what it is called, and how often it is connected to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.clusters import Clusters, Way
from aegis_deploy.kubernetes.client import Cluster
from aegis_deploy.kubernetes.client import connect as really
from aegis_deploy.model.declared import UNKNOWN
from aegis_deploy.model.events import MASKED, Step
from aegis_deploy.model.fingerprint import jobs_of_steps, workloads_of_state, workloads_of_steps
from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.stack.checkpoint import outline, parse
from tests.unit.aegis_deploy.kubernetes.test_kubeconfig import kubeconfig
from tests.unit.aegis_deploy.states import DEFAULT, STACK, secret, state, thing, urn

PROVIDER = "pulumi:providers:kubernetes"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
TEXT = {name: json.dumps(kubeconfig(f"https://{name}:6443")) for name in ("east", "west")}


def closed(text: str) -> dict[str, str]:
    """A secret as a state has it."""
    return {SIGNATURE: SECRET, "ciphertext": text}


def partly_closed(text: str) -> Any:
    """A kubeconfig as an object whose token alone is a secret."""
    found = json.loads(text)
    found["users"][0]["user"]["token"] = closed("v1:t")
    return found


MASKED_SECRET = closed(MASKED)
"""A secret as a preview has it."""


def filled(value: Any) -> Any:
    """A value whose secrets, at any depth, are what their ciphertexts say after a colon."""
    if isinstance(value, dict):
        if "ciphertext" in value:
            return secret(value["ciphertext"].partition(":")[2])
        return {key: filled(inner) for key, inner in value.items()}
    return [filled(it) for it in value] if isinstance(value, list) else value


def provider(name: str, within: str = "", **inputs: Any) -> dict[str, Any]:
    """A provider that a program made, in a component or not."""
    kind = f"{within}${PROVIDER}" if within else PROVIDER
    return {
        "urn": urn(kind, name),
        "type": PROVIDER,
        "custom": True,
        "id": f"id-of-{name}",
        "inputs": inputs,
        "parent": urn(within, "it") if within else STACK,
    }


def web(by: Mapping[str, Any] | None = None, name: str = "web", **more: Any) -> dict[str, Any]:
    """A Deployment, by a provider of the program's own or by the engine's."""
    named = {} if by is None else {"provider": f"{by['urn']}::{by['id']}"}
    it: dict[str, Any] = thing(DEPLOYMENT, f"{name} of {(by or {}).get('urn', '')[-4:]}", **more)
    it["inputs"]["metadata"] = {"name": name, "namespace": "shop"}
    return {**it, "id": f"shop/{name}", **named}


@dataclass
class Session:
    """A stack whose secrets are what their ciphertexts say after a colon."""

    directory: Path = Path("/project")
    settings: Way = field(default_factory=Way)
    asked: list[int] = field(default_factory=list)
    wrong: AegisError | None = None

    def export(self) -> dict[str, Any]:
        return {"deployment": {"secrets_providers": {"type": "passphrase"}}}


@dataclass
class Stand:
    """The clusters of a stack, and what was connected to."""

    session: Session
    clusters: Clusters
    made: list[tuple[str | None, ...]] = field(default_factory=list)

    def sees(self, *resources: dict[str, Any]) -> Sequence[Workload]:
        raw = state(*resources)["resources"]
        self.clusters.see(raw)
        return workloads_of_state(raw, self.clusters.place)

    def addresses(self, *resources: dict[str, Any]) -> dict[str, str]:
        """Where each Deployment is, by how it is called."""
        return {str(it): self.clusters.of(it).address for it in self.sees(*resources)}


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    session = Session()
    made = Stand(session, Clusters(cast("Any", session), lambda: session.settings))

    def connect(*words: str | None) -> Cluster:
        made.made.append(words)
        return really(*words)

    def decrypted(_: Session, *deployments: Mapping[str, Any], what: str) -> list[Any]:
        assert "providers connect" in what
        if session.wrong is not None:
            raise session.wrong
        (items,) = (it["resources"][0]["inputs"]["all"] for it in deployments)
        session.asked.append(len(items))
        opened = [filled(it) for it in items]
        return [{"resources": [{"inputs": {"all": opened}}]}]

    monkeypatch.setattr("aegis_deploy.kubernetes.client.connect", connect)
    monkeypatch.setattr("aegis_deploy.stack.decryption.decrypted", decrypted)
    session.settings = Way(None, json.dumps(kubeconfig("https://own:6443")))
    return made


EAST, WEST = (provider(name, kubeconfig=TEXT[name]) for name in ("east", "west"))


class TestOneCluster:
    """It goes without saying, and is connected to as its provider says."""

    def test_the_engines_own_provider_connects_as_the_settings_say(self, stand: Stand) -> None:
        assert stand.addresses(web()) == {"shop/web": "https://own:6443"}
        assert len(stand.made) == 1

    def test_a_programs_provider_connects_by_itself(self, stand: Stand) -> None:
        assert stand.addresses(EAST, web(EAST)) == {"shop/web": "https://east:6443"}
        assert len(stand.made) == 1

    def test_its_secret_kubeconfig_is_decrypted_once_it_is_wanted(self, stand: Stand) -> None:
        hidden = provider("east", kubeconfig=closed(f"v1:{TEXT['east']}"))
        (found,) = stand.sees(hidden, web(hidden))
        assert stand.session.asked == []
        for _ in range(2):
            assert stand.clusters.of(found).address == "https://east:6443"
        assert (stand.session.asked, len(stand.made)) == ([1], 1)

    def test_nothing_is_read_or_decrypted_to_name_what_is_alone(
        self, stand: Stand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "aegis_deploy.kubernetes.kubeconfig.destination", lambda *_: pytest.fail("it was read")
        )
        hidden = provider("east", kubeconfig=closed("v1:x"))
        assert [it.cluster for it in stand.sees(hidden, web(hidden), web(hidden, "api"))] == [
            "",
            "",
        ]
        assert [it.cluster for it in stand.sees(web())] == [""]
        assert stand.session.asked == []

    @pytest.mark.parametrize(
        "given", [json.loads(TEXT["east"]), secret(TEXT["east"]), partly_closed(TEXT["east"])]
    )
    def test_a_kubeconfig_may_be_an_object_or_decrypted(self, stand: Stand, given: Any) -> None:
        it = provider("east", kubeconfig=given)
        assert stand.addresses(it, web(it)) == {"shop/web": "https://east:6443"}

    @pytest.mark.parametrize("place", ["kube/config", "./kube/config"])
    def test_a_place_is_seen_from_the_project(
        self, stand: Stand, tmp_path: Path, place: str
    ) -> None:
        stand.session.directory = tmp_path
        (tmp_path / "kube").mkdir()
        (tmp_path / "kube" / "config").write_text(TEXT["east"])
        it = provider("east", kubeconfig=place)
        assert stand.addresses(it, web(it)) == {"shop/web": "https://east:6443"}
        stand.session.settings = Way(None, place)
        assert stand.clusters.own().address == "https://east:6443"

    def test_context_and_cluster_are_the_providers(self, stand: Stand) -> None:
        it = provider("east", context="there", cluster="other", kubeconfig="/a\n")
        (found,) = stand.sees(it, web(it))
        with pytest.raises(AegisError) as refused:
            stand.clusters.of(found)
        assert stand.made == [("there", "/a\n", "other")]
        assert "(provider east)" in refused.value.what

    def test_what_cannot_be_decrypted_is_told_with_its_provider(self, stand: Stand) -> None:
        stand.session.wrong = AegisError(what="it cannot be read", why="incorrect passphrase")
        hidden = provider("east", kubeconfig=closed("v1:x"))
        (found,) = stand.sees(hidden, web(hidden))
        with pytest.raises(AegisError) as refused:
            stand.clusters.of(found)
        assert refused.value.what == "it cannot be read (provider east)"


class TestSeveral:
    """Each is connected to once, and called by a provider that leads there."""

    def test_each_is_its_own_providers(self, stand: Stand) -> None:
        assert stand.addresses(EAST, WEST, web(EAST), web(WEST)) == {
            "shop/web (provider east)": "https://east:6443",
            "shop/web (provider west)": "https://west:6443",
        }
        assert len(stand.made) == 2

    def test_the_stacks_own_needs_no_name(self, stand: Stand) -> None:
        assert stand.addresses(web(), WEST, web(WEST)) == {
            "shop/web": "https://own:6443",
            "shop/web (provider west)": "https://west:6443",
        }

    def test_two_providers_that_lead_to_one_are_one(self, stand: Stand, tmp_path: Path) -> None:
        (tmp_path / "config").write_text(json.dumps(kubeconfig("https://east:6443/"), indent=2))
        again = provider("again", kubeconfig=str(tmp_path / "config"))
        (one, other) = stand.sees(EAST, again, web(EAST), web(again, "api"))
        assert (one.cluster, other.cluster) == ("", "")
        assert stand.clusters.of(one) is stand.clusters.of(other)
        assert len(stand.made) == 1

    def test_one_that_leads_where_the_settings_do_is_the_stacks_own(self, stand: Stand) -> None:
        stand.session.settings = Way(None, TEXT["east"])
        found = stand.sees(web(), EAST, web(EAST, "api"), WEST, web(WEST))
        assert [it.cluster for it in found] == ["", "", "west"]
        assert len({id(stand.clusters.of(it)) for it in found}) == len(stand.made) == 2

    def test_another_user_is_another_connection(self, stand: Stand) -> None:
        other = kubeconfig("https://east:6443")
        other["users"][0]["user"]["token"] = "another"
        team = provider("team", kubeconfig=json.dumps(other))
        stand.addresses(EAST, team, web(EAST), web(team, "api"))
        assert len(stand.made) == 2

    def test_equal_secrets_are_compared_in_the_open(self, stand: Stand) -> None:
        both = [provider(name, kubeconfig=closed(f"{name}:{TEXT['east']}")) for name in ("a", "b")]
        found = stand.sees(*both, web(both[0]), web(both[1], "api"))
        assert [it.cluster for it in found] == ["", ""]
        assert stand.session.asked == [2], "all at once"

    def test_providers_of_one_name_are_told_apart(self, stand: Stand) -> None:
        two = [
            provider("cluster", within=f"shop:a:{name}", kubeconfig=TEXT[name])
            for name in ("east", "west")
        ]
        names = [it.cluster for it in stand.sees(*two, web(two[0]), web(two[1]))]
        assert names == ["cluster", f"shop:a:west${PROVIDER}::cluster"]

    def test_one_that_nobody_can_connect_to_is_apart_from_the_others(self, stand: Stand) -> None:
        lost = provider("lost", kubeconfig="/nowhere/config")
        found = stand.sees(EAST, lost, web(EAST), web(lost))
        parts = stand.clusters.of_workloads(found)
        assert [it.name for it in parts] == ["east", "lost"]
        assert parts[0].connect().address == "https://east:6443"
        with pytest.raises(AegisError) as refused:
            parts[1].connect()
        assert parts[1].told(refused.value).startswith("the cluster cannot be reached: there is no")
        assert " (provider lost): " in parts[1].told(refused.value)
        assert parts[1].told(ValueError("x")) == "provider lost: x"
        assert parts[0].told(ValueError("x")) == "provider east: x"
        assert "/nowhere/config is not there" in refused.value.why

    def test_what_is_not_used_or_is_of_another_package_names_nothing(self, stand: Stand) -> None:
        cloud = {**provider("cloud"), "type": "pulumi:providers:aws"}
        cloud["urn"] = urn("pulumi:providers:aws", "cloud")
        bucket = thing("aws:s3/bucket:Bucket", "b", provider=f"{cloud['urn']}::1")
        (found,) = stand.sees(EAST, WEST, cloud, bucket, web(EAST))
        assert (found.cluster, stand.clusters.place(cloud["urn"])) == ("", "")
        assert [it.items for it in stand.clusters.all()] == [(EAST["urn"],)]


class TestFiles:
    """A provider that writes files has no cluster."""

    FILES = provider("files", renderYamlToDirectory="out")

    def test_nothing_of_it_is_looked_at(self, stand: Stand) -> None:
        assert stand.sees(self.FILES, web(self.FILES)) == []
        assert stand.clusters.of_resources([outline(web(self.FILES))]) == []
        assert stand.clusters.all() == []

    def test_it_makes_no_second_cluster_of_one(self, stand: Stand) -> None:
        (found,) = stand.sees(self.FILES, web(self.FILES), EAST, web(EAST))
        assert found.cluster == ""

    def test_the_engines_own_provider_may_be_one(self, stand: Stand) -> None:
        raw = state(web())["resources"]
        raw[1]["inputs"]["renderYamlToDirectory"] = "out"
        stand.clusters.see(raw)
        assert stand.clusters.place(DEFAULT) is None


def preview(*resources: dict[str, Any], op: str = "create", **more: Any) -> list[Step]:
    """What a preview shows of resources."""
    return [
        Step(
            op="same" if it["type"] != PROVIDER else op,
            urn=it["urn"],
            type=it["type"],
            name=it["urn"].rpartition("::")[2],
            namespace="shop",
            object=str(it["inputs"].get("metadata", {}).get("name") or ""),
            parent=it["parent"],
            provider=str(it.get("provider") or "").rpartition("::")[0],
            connects=it["inputs"] if it["type"] == PROVIDER else {},
            **(more if it["type"] == PROVIDER else {}),
        )
        for it in resources
    ]


class TestAnUpdate:
    """What it will roll out is where its providers will lead, as far as a preview can say it."""

    def named(self, stand: Stand, steps: list[Step]) -> list[str]:
        return [str(it) for it in workloads_of_steps(steps, stand.clusters.place)]

    def test_a_new_provider_is_known_by_what_it_is_given(self, stand: Stand) -> None:
        stand.sees(EAST, web(EAST))
        steps = preview(EAST, WEST, web(EAST), web(WEST))
        assert stand.clusters.expect(steps) == ()
        found = workloads_of_steps(steps, stand.clusters.place)
        assert [stand.clusters.of(it).address for it in found] == [
            "https://east:6443",
            "https://west:6443",
        ]
        assert self.named(stand, steps) == [
            "shop/web (provider east)",
            "shop/web (provider west)",
        ]

    @pytest.mark.parametrize("given", [MASKED, UNKNOWN, MASKED_SECRET, {"users": [MASKED_SECRET]}])
    def test_one_that_only_the_update_knows_leads_nowhere_yet(
        self, stand: Stand, given: Any
    ) -> None:
        stand.session.settings = Way()
        hidden = provider("west", kubeconfig=given)
        job = thing("kubernetes:batch/v1:Job", "once", provider=f"{hidden['urn']}::1")
        steps = [*preview(EAST, hidden, web(EAST), web(hidden)), *preview(job)]
        assert stand.clusters.expect(steps) == ("west",)
        # What is seen meanwhile is told of where it is, as it is afterwards.
        assert self.named(stand, steps) == ["shop/web (provider east)"]
        assert jobs_of_steps(steps, stand.clusters.place) == []
        with pytest.raises(AegisError, match="not known yet"):
            stand.clusters.at(hidden["urn"])
        # Afterwards the state says it.
        after = provider("west", kubeconfig=closed(f"v1:{TEXT['west']}"))
        assert set(stand.addresses(EAST, after, web(EAST), web(after))) == {
            "shop/web (provider east)",
            "shop/web (provider west)",
        }

    @pytest.mark.parametrize(
        ("op", "diffs"), [("same", ()), ("update", ("namespace",))], ids=["same", "another input"]
    )
    def test_what_a_preview_masks_and_does_not_change_the_state_has(
        self, stand: Stand, op: str, diffs: tuple[str, ...]
    ) -> None:
        kept = provider("east", kubeconfig=closed(f"v1:{TEXT['east']}"))
        stand.sees(kept, web(kept))
        masked = provider("east", kubeconfig=MASKED_SECRET)
        assert stand.clusters.expect(preview(masked, web(masked), op=op, diffs=diffs)) == ()
        assert stand.clusters.at(kept["urn"]).address == "https://east:6443"

    def test_one_that_is_alone_and_new_is_that_of_the_settings(self, stand: Stand) -> None:
        stand.session.settings = Way(None, TEXT["west"])
        stand.sees()
        masked = provider("cluster", kubeconfig=MASKED_SECRET)
        steps = preview(masked, web(masked))
        assert stand.clusters.expect(steps) == ()
        assert self.named(stand, steps) == ["shop/web"]
        assert stand.clusters.at(masked["urn"]).address == "https://west:6443"

    def test_one_that_is_not_alone_or_has_no_settings_is_not(self, stand: Stand) -> None:
        masked = provider("cluster", kubeconfig=MASKED_SECRET)
        assert stand.clusters.expect(preview(EAST, masked, web(EAST), web(masked))) == ("cluster",)
        stand.session.settings = Way("a context alone")
        assert stand.clusters.expect(preview(masked, web(masked))) == ("cluster",)


class TestAReplay:
    """Its providers connect as it says."""

    def test_it_counts_more_than_what_the_state_says(self, stand: Stand) -> None:
        stand.sees(EAST, web(EAST))
        moved = parse(state(provider("east", kubeconfig=secret(TEXT["west"]))))
        stand.clusters.learn(moved.resources)
        assert stand.clusters.at(EAST["urn"]).address == "https://west:6443"
        assert stand.addresses(EAST, web(EAST)) == {"shop/web": "https://east:6443"}

    def test_a_records_counts_only_where_nothing_newer_is_known(self, stand: Stand) -> None:
        stand.sees(EAST, web(EAST))
        record = parse(state(provider("east", kubeconfig=TEXT["west"]), WEST, web(WEST)))
        stand.clusters.learn(record.resources, anew=False)
        assert stand.clusters.at(EAST["urn"]).address == "https://east:6443"
        assert stand.clusters.at(WEST["urn"]).address == "https://west:6443"
        assert [it.name for it in stand.clusters.all()] == ["east", "west"]


def test_nothing_of_a_kubeconfig_is_in_what_is_shown(stand: Stand) -> None:
    stand.sees(EAST, web(EAST))
    way = Way("c", TEXT["east"])
    (part,) = stand.clusters.of_resources([outline(web(EAST))])
    shown = [*preview(EAST), way, part, list(stand.clusters._given.values())]
    assert "token" not in repr(shown)
