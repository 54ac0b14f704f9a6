"""Where the lab keeps things, its address plan, and the settings it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import settings
from lab.choices import Ingress
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError

CHECKOUT = Path("/src/aegis")
HOME = {"HOME": "/home/ada"}


class TestPaths:
    """Where things are."""

    def test_follow_the_home_directory(self) -> None:
        loaded = settings.load(HOME, CHECKOUT)
        assert loaded.state == Path("/home/ada/.local/state/aegis/lab")
        assert loaded.cache == Path("/home/ada/.cache/aegis")
        assert loaded.checkout == CHECKOUT

    def test_follow_the_xdg_variables(self) -> None:
        loaded = settings.load({**HOME, "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"}, CHECKOUT)
        assert (loaded.cache, loaded.state) == (Path("/c/aegis"), Path("/s/aegis/lab"))

    def test_take_an_empty_variable_for_an_absent_one(self) -> None:
        empty = dict.fromkeys(["XDG_CACHE_HOME", "AEGIS_LAB_DIR", "AEGIS_LAB_NETWORK"], "")
        assert settings.load({**HOME, **empty}, CHECKOUT) == settings.load(HOME, CHECKOUT)

    def test_all_lie_in_the_state_directory(self) -> None:
        loaded = settings.load({**HOME, "AEGIS_LAB_DIR": "/srv/lab"}, CHECKOUT)
        paths = (
            *(loaded.run, loaded.logs, loaded.kubeconfig, loaded.pulumi_home, loaded.backend),
            *(loaded.passphrase_file, loaded.docker_socket),
        )
        assert all(path.is_relative_to("/srv/lab") for path in paths)

    def test_are_absolute_even_when_given_otherwise(self) -> None:
        loaded = settings.load({**HOME, "AEGIS_LAB_DIR": "lab", "XDG_CACHE_HOME": "c"}, CHECKOUT)
        assert loaded.state == Path.cwd() / "lab"
        assert loaded.cache == Path.cwd() / "c" / "aegis"


class TestRefusedPlaces:
    """Directories that the lab could not use, or whose purge would remove too much."""

    @pytest.mark.parametrize(
        ("variable", "value", "reason"),
        [
            ("AEGIS_LAB_DIR", "/var/lib/lab", "/var/lib"),
            ("AEGIS_LAB_DIR", "/var/log/lab", "/var/log"),
            ("AEGIS_LAB_DIR", "/run/lab", "/run"),
            ("AEGIS_LAB_DIR", "/srv/../run/lab", "/run"),
            ("XDG_CACHE_HOME", "/var/lib/jenkins/.cache", "/var/lib"),
            ("AEGIS_LAB_DIR", "/srv/ada's lab", '"\'"'),
            ("AEGIS_LAB_DIR", "/srv/a:b", "':'"),
            ("AEGIS_LAB_DIR", "/home/ada", "/home/ada lies in it"),
            ("AEGIS_LAB_DIR", "/home", "/home/ada lies in it"),
            ("AEGIS_LAB_DIR", "/src/aegis", "/src/aegis lies in it"),
            ("AEGIS_LAB_DIR", "/", "purge=1"),
        ],
    )
    def test_name_the_reason_and_the_way_out(self, variable: str, value: str, reason: str) -> None:
        with pytest.raises(LabError) as caught:
            settings.load({**HOME, variable: value}, CHECKOUT)
        assert reason in caught.value.why
        assert f"{variable}=" in caught.value.next
        assert caught.value.code == EXIT_REFUSED

    def test_are_seen_through_symbolic_links(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/var/lib")
        with pytest.raises(LabError, match="mount namespace"):
            settings.load({**HOME, "AEGIS_LAB_DIR": f"{tmp_path}/link/lab"}, CHECKOUT)

    @pytest.mark.parametrize("value", ["/var/library", "/runs/lab", "/home/ada2", "/srv/a lab"])
    def test_do_not_include_what_only_looks_alike(self, value: str) -> None:
        assert settings.load({**HOME, "AEGIS_LAB_DIR": value}, CHECKOUT).state == Path(value)


class TestNetwork:
    """The address plan."""

    @pytest.mark.parametrize(
        "text",
        [
            "198.18.0.0/16",
            "10.0.0.0/8",
            "198.18.0.1/15",
            "198.18.0.0",
            "fd00::/15",
            "lab",
            "300.0.0.0/15",
        ],
    )
    def test_that_cannot_be_used_is_refused_by_name(self, text: str) -> None:
        with pytest.raises(LabError) as caught:
            settings.load({**HOME, "AEGIS_LAB_NETWORK": text}, CHECKOUT)
        assert caught.value.what == f"AEGIS_LAB_NETWORK={text} cannot be used"
        assert "allowed is a /15, for example 198.18.0.0/15" in caught.value.why
        assert caught.value.code == EXIT_REFUSED

    @pytest.mark.parametrize(
        ("text", "host", "node", "pods", "services", "dns"),
        [
            (
                *("198.18.0.0/15", "198.18.0.1", "198.18.0.2"),
                *("198.18.128.0/17", "198.19.0.0/16", "198.19.0.10"),
            ),
            (
                *("10.20.0.0/15", "10.20.0.1", "10.20.0.2"),
                *("10.20.128.0/17", "10.21.0.0/16", "10.21.0.10"),
            ),
        ],
    )
    def test_is_cut_the_same_way_wherever_it_lies(
        self, *, text: str, host: str, node: str, pods: str, services: str, dns: str
    ) -> None:
        plan = settings.load({**HOME, "AEGIS_LAB_NETWORK": text}, CHECKOUT).addresses
        assert (str(plan.host), str(plan.node), str(plan.dns)) == (host, node, dns)
        assert (str(plan.pods), str(plan.services)) == (pods, services)
        assert plan.registry == f"{node}:5000"
        assert plan.api_server == f"https://{node}:6443"

    def test_has_parts_that_do_not_overlap(self) -> None:
        plan = settings.load(HOME, CHECKOUT).addresses
        parts = [plan.link, plan.pods, plan.services]
        assert not any(a.overlaps(b) for a in parts for b in parts if a is not b)
        assert plan.kubernetes_service in plan.services
        assert plan.dns in plan.services
        assert plan.ingress in plan.services
        assert len({plan.kubernetes_service, plan.dns, plan.ingress}) == 3
        assert plan.host in plan.link
        assert plan.node in plan.link


class TestNumberOfNodes:
    """How many nodes a lab is to have; nobody need say it."""

    @pytest.mark.parametrize(("text", "count"), [("1", 1), ("3", 3), ("9", 9), ("", None)])
    def test_is_a_number_or_as_many_as_there_are(self, text: str, count: int | None) -> None:
        assert settings.load({**HOME, "AEGIS_LAB_NODES": text}, CHECKOUT).nodes == count
        assert settings.node_count(text or None, "nodes=") == count
        assert settings.load(HOME, CHECKOUT).nodes is None

    @pytest.mark.parametrize("text", ["0", "50", "10", "-1", "2.5", "three", "3 ", "\u0663"])
    def test_is_refused_before_anything_is_started(self, text: str) -> None:
        with pytest.raises(LabError) as caught:
            settings.load({**HOME, "AEGIS_LAB_NODES": text}, CHECKOUT)
        assert caught.value.code == EXIT_REFUSED
        assert caught.value.what == f"AEGIS_LAB_NODES={text} cannot be used"
        assert "1 to 9" in caught.value.why
        assert caught.value.next == "make up nodes=3"


class TestIngress:
    """Whether there is a way in; nobody need say it."""

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [("contour", Ingress.CONTOUR), ("none", Ingress.NONE), ("", None)],
    )
    def test_is_a_name_or_as_it_is(self, text: str, wanted: Ingress | None) -> None:
        assert settings.load({**HOME, "AEGIS_LAB_INGRESS": text}, CHECKOUT).ingress is wanted
        assert settings.load(HOME, CHECKOUT).ingress is None

    @pytest.mark.parametrize("text", ["nginx", "Contour", "1", "contour "])
    def test_is_refused_with_what_is_allowed(self, text: str) -> None:
        with pytest.raises(LabError) as caught:
            settings.load({**HOME, "AEGIS_LAB_INGRESS": text}, CHECKOUT)
        assert caught.value.code == EXIT_USAGE
        assert caught.value.what == f"AEGIS_LAB_INGRESS={text} cannot be used"
        assert "AEGIS_LAB_INGRESS=contour" in caught.value.next


class TestReleaseSites:
    """Where official releases come from; a checksum that came unencrypted protects nothing."""

    def test_are_the_projects_own_unless_set(self) -> None:
        loaded = settings.load(HOME, CHECKOUT)
        assert loaded.github == "https://github.com"
        assert loaded.kubernetes_site == "https://dl.k8s.io"

    def test_may_be_mirrors_or_on_this_machine(self) -> None:
        there = {
            "AEGIS_LAB_GITHUB_SITE": "https://mirror.example/github/",
            "AEGIS_LAB_KUBERNETES_SITE": "http://127.0.0.1:8080",
        }
        loaded = settings.load({**HOME, **there}, CHECKOUT)
        assert loaded.github == "https://mirror.example/github"
        assert loaded.kubernetes_site == "http://127.0.0.1:8080"

    @pytest.mark.parametrize("name", ["AEGIS_LAB_GITHUB_SITE", "AEGIS_LAB_KUBERNETES_SITE"])
    @pytest.mark.parametrize(
        "value",
        [
            "http://mirror.example",
            "mirror.example",
            "ftp://mirror.example",
            "https://",
            "https://m/?a",
        ],
    )
    def test_are_refused_otherwise(self, name: str, value: str) -> None:
        with pytest.raises(LabError) as caught:
            settings.load({**HOME, name: value}, CHECKOUT)
        assert caught.value.what.startswith(f"{name}=")
        assert "https://<host>" in caught.value.why
        assert caught.value.code == EXIT_REFUSED

    def test_are_refused_with_a_password_without_repeating_it(self) -> None:
        given = {"AEGIS_LAB_GITHUB_SITE": "https://ada:hunter2@mirror.example"}
        with pytest.raises(LabError) as caught:
            settings.load({**HOME, **given}, CHECKOUT)
        assert "hunter2" not in str(caught.value)
