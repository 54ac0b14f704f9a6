"""Where the CLI would look, looked at in the same order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.pulumi_cli.project import Project, find_project, locate_backend, read_settings

PROJECT = "name: shop\nruntime: python\n"


def test_a_project_is_found_from_below_it(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project(inner) == Project("shop", tmp_path, tmp_path, runtime="python")


def test_where_there_is_none_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(AegisError) as raised:
        find_project(tmp_path)
    assert raised.value.code is ExitCode.USAGE


@pytest.mark.parametrize("text", ["", "runtime: python\n", "name: [\n", "- a\n"])
def test_a_project_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text(text)
    with pytest.raises(AegisError, match=r"Pulumi\.yaml cannot be used"):
        find_project(tmp_path)


def test_the_stacks_files_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT + "stackConfigDir: stacks\n")
    assert find_project(tmp_path).settings_directory == tmp_path / "stacks"


@pytest.mark.parametrize(
    ("variable", "own", "stored", "found"),
    [
        ("s3://v", "s3://p", "s3://c", "s3://v"),
        (None, "s3://p", "s3://c", "s3://p"),
        (None, None, "s3://c", "s3://c"),
    ],
)
def test_the_backend_is_the_variables_then_the_projects_then_the_one_logged_in_to(
    tmp_path: Path, variable: str | None, own: str | None, stored: str, found: str
) -> None:
    (tmp_path / "credentials.json").write_text(json.dumps({"current": stored}))
    project = Project("shop", tmp_path, tmp_path, own)
    environment = {"PULUMI_BACKEND_URL": variable} if variable else {}
    assert locate_backend(project, environment, tmp_path) == found


def test_a_token_alone_chooses_the_service_that_gave_it(tmp_path: Path) -> None:
    project = Project("shop", tmp_path, tmp_path)
    token = {"PULUMI_ACCESS_TOKEN": "pul-x", "PULUMI_BACKEND_URL": ""}
    assert locate_backend(project, token, tmp_path) == "https://api.pulumi.com"
    own = {**token, "PULUMI_API": "https://api.example.com"}
    assert locate_backend(project, own, tmp_path) == "https://api.example.com"


def test_without_a_backend_it_says_how_to_choose_one(tmp_path: Path) -> None:
    with pytest.raises(AegisError) as raised:
        locate_backend(Project("shop", tmp_path, tmp_path), {}, tmp_path)
    assert raised.value.next == "pulumi login, or set PULUMI_BACKEND_URL"


class TestSettings:
    """The files' settings, as an update would record them."""

    def test_of_a_project_may_be_declared_or_plain(self, tmp_path: Path) -> None:
        path = tmp_path / "Pulumi.yaml"
        path.write_text(
            PROJECT
            + "config:\n  shop:plain: 1\n  given: {value: 2}\n"
            + "  usual: {default: 3, type: integer}\n"
            + "  wanted: {type: string}\n  other:tree: {a: [b]}\n"
        )
        found = {key: it.value for key, it in read_settings(path, "shop").items()}
        assert found == {
            "shop:plain": 1,
            "shop:given": 2,
            "shop:usual": 3,
            "other:tree": {"a": ["b"]},
        }

    def test_of_a_stack_keep_their_secrets_encrypted(self, tmp_path: Path) -> None:
        path = tmp_path / "Pulumi.staging.yaml"
        path.write_text("encryptionsalt: v1:x\nconfig:\n  shop:token:\n    secure: v1:abc\n")
        found = read_settings(path, "shop")["shop:token"]
        assert (found.secret, found.encrypted, found.shown) == (True, True, "[secret]")

    def test_of_a_file_that_is_not_there_are_none(self, tmp_path: Path) -> None:
        assert read_settings(tmp_path / "Pulumi.staging.yaml", "shop") == {}

    def test_of_a_file_that_is_no_yaml_name_it(self, tmp_path: Path) -> None:
        path = tmp_path / "Pulumi.staging.yaml"
        path.write_text("config: [\n")
        with pytest.raises(AegisError, match=r"Pulumi\.staging\.yaml cannot be used"):
            read_settings(path, "shop")
