"""Addresses of backends: taken apart as the CLI does, their passwords kept to ourselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_deploy.backend.buckets import cloud_bucket
from aegis_deploy.backend.buckets.azure_blob import service_url
from aegis_deploy.backend.buckets.directory import DirectoryBucket
from aegis_deploy.backend.buckets.object_store import Address, need, password_of, shown_url
from aegis_deploy.backend.buckets.postgres import PostgresBucket, connection_url
from aegis_deploy.backend.buckets.s3 import client_options
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.pulumi_cli.project import stack_name

DATABASE = "postgres://ann:p%40ss@db:5432/state?table=mine&sslmode=disable"


@pytest.mark.parametrize(
    ("url", "host", "prefix"),
    [
        ("s3://state", "state", ""),
        ("s3://state/team/one?region=eu-west-1", "state", "team/one/"),
        (DATABASE, "db:5432", "state/"),
    ],
)
def test_an_address_is_taken_apart_as_the_cli_does(url: str, host: str, prefix: str) -> None:
    found = Address.of(url)
    assert (found.host, found.prefix) == (host, prefix)


class TestPassword:
    """A password in a backend's address."""

    def test_is_masked_wherever_the_address_is_shown(self) -> None:
        shown = "postgres://ann:****@db:5432/state?table=mine&sslmode=disable"
        assert (password_of(DATABASE), shown_url(DATABASE)) == ("p%40ss", shown)
        assert "p%40ss" not in repr(PostgresBucket(DATABASE, {}))

    @pytest.mark.parametrize("url", ["s3://state", "postgres://ann@db/state", "file://~/a:b@c"])
    def test_that_is_not_there_changes_nothing(self, url: str) -> None:
        assert (password_of(url), shown_url(url)) == (None, url)

    def test_is_masked_in_what_the_cli_prints(self, tmp_path: Path) -> None:
        (tmp_path / "pulumi").write_text(
            f"#!/bin/sh\necho 'unable to open {DATABASE}' >&2\nexit 1\n"
        )
        (tmp_path / "pulumi").chmod(0o755)
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        engine = Engine(tmp_path, path, hidden=password_of(DATABASE))
        done = engine.run(["stack"])
        assert (done.code, "p%40ss" in done.stderr, "ann:****@db" in done.stderr) == (
            1,
            False,
            True,
        )


class TestS3:
    """The client of an S3 backend."""

    def test_has_what_the_address_says(self) -> None:
        at = Address.of("s3://b?endpoint=https://store:9000&s3ForcePathStyle=true&dualstack=true")
        made = client_options(at, {})
        assert (made["endpoint_url"], made["use_ssl"]) == ("https://store:9000", True)
        assert made["config"].s3["addressing_style"] == "path"
        assert made["config"].use_dualstack_endpoint

    @pytest.mark.parametrize(
        ("query", "endpoint"),
        [
            ("endpoint=minio:9000", "https://minio:9000"),
            ("endpoint=minio:9000&disableSSL=true", "http://minio:9000"),
            ("region=eu-west-1", None),
        ],
    )
    def test_understands_the_options_of_before(self, query: str, endpoint: str | None) -> None:
        assert client_options(Address.of(f"s3://b?{query}"), {})["endpoint_url"] == endpoint

    @pytest.mark.parametrize(
        ("query", "environment", "expected"),
        [
            ("endpoint=https://store", {}, "when_required"),
            ("endpoint=https://store&request_checksum_calculation=when_supported", {}, None),
            (
                "endpoint=https://store",
                {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"},
                None,
            ),
            ("region=eu-west-1", {}, None),
        ],
    )
    def test_sends_no_checksums_to_other_makers_servers_unless_told(
        self, query: str, environment: dict[str, str], expected: str | None
    ) -> None:
        made = client_options(Address.of(f"s3://b?{query}"), environment)["config"]
        found = getattr(made, "request_checksum_calculation", None)
        assert (found == "when_required") == (expected == "when_required")


class TestPostgres:
    """A database as the backend."""

    def test_is_connected_to_without_the_clis_own_option(self) -> None:
        expected = "postgres://ann:p%40ss@db:5432/state?sslmode=disable"
        assert connection_url(DATABASE, {}) == expected

    def test_is_spoken_to_with_tls_unless_somebody_says_otherwise(self) -> None:
        assert connection_url("postgres://db/state", {}).endswith("?sslmode=require")
        assert "sslmode" not in connection_url("postgres://db/state", {"PGSSLMODE": "disable"})

    def test_with_a_table_that_is_none_is_refused(self) -> None:
        with pytest.raises(AegisError, match="cannot be used"):
            PostgresBucket("postgres://db/state?table=a;drop", {})


class TestAzure:
    """The address of an account's blobs."""

    @pytest.mark.parametrize(
        ("query", "environment", "expected"),
        [
            ("", {"AZURE_STORAGE_ACCOUNT": "acme"}, "https://acme.blob.core.windows.net"),
            ("storage_account=acme&domain=blob.example", {}, "https://acme.blob.example"),
            (
                "storage_account=acme&protocol=http&domain=127.0.0.1:10000",
                {},
                "http://127.0.0.1:10000/acme",
            ),
            (
                "storage_account=acme",
                {"AZURE_STORAGE_IS_CDN": "true", "AZURE_STORAGE_DOMAIN": "cdn.example"},
                "https://cdn.example",
            ),
        ],
    )
    def test_comes_from_the_url_and_the_environment(
        self, query: str, environment: dict[str, str], expected: str
    ) -> None:
        assert service_url(Address.of(f"azblob://state?{query}"), environment) == expected

    def test_without_an_account_is_refused(self) -> None:
        with pytest.raises(AegisError, match="cannot be reached"):
            service_url(Address.of("azblob://state"), {})


def test_a_library_that_is_missing_is_named_with_what_to_type() -> None:
    with pytest.raises(AegisError) as raised:
        need("there_is_no_such_library", "s3")
    assert raised.value.next == 'pip install "aegis-deploy[s3]"'


class TestStackName:
    """The name of a stack as it is given."""

    @pytest.mark.parametrize("given", ["one", "organization/one", "organization/shop/one"])
    def test_may_be_short_or_full(self, given: str) -> None:
        assert stack_name(given, "shop", "s3://state") == "one"

    def test_names_an_organization_where_there_is_a_service(self) -> None:
        assert stack_name("acme/shop/one", "shop", "https://api.pulumi.com") == "one"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("organization/mall/one", "a stack of the project mall"),
            ("acme/shop/one", "names the organization acme"),
            ("acme/one", "names the organization acme"),
            ("organization/shop/", "no name of a stack"),
            ("a/b/c/d", "no name of a stack"),
        ],
    )
    def test_of_another_project_or_organization_is_refused(self, given: str, said: str) -> None:
        with pytest.raises(AegisError, match=said) as raised:
            stack_name(given, "shop", "postgres://db/state")
        assert raised.value.code is ExitCode.USAGE


def test_an_object_is_swapped_only_while_it_is_what_it_was(tmp_path: Path) -> None:
    place = DirectoryBucket(tmp_path)
    assert place.swap("a/b", None, b"1")
    assert not place.swap("a/b", None, b"2")
    assert not place.swap("a/b", b"2", b"3")
    assert place.swap("a/b", b"1", b"2")
    assert not place.swap("a/b", b"1", None)
    assert [it.key for it in place.list("a/")] == ["a/b"]
    assert place.swap("a/b", b"2", None)
    assert place.list("a/") == []


def test_many_are_read_at_once_and_one_that_is_gone_hides_no_other() -> None:
    def read(key: str) -> bytes:
        if key == "gone":
            raise FileNotFoundError(key)
        return key.encode()

    found = cloud_bucket.read_each(read, ["a", "gone", "b"])
    assert (found["a"], found["b"]) == (b"a", b"b")
    assert isinstance(found["gone"], FileNotFoundError)
