"""Settings: what is refused, in which words, and what never is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, load_settings, misspelt


def refused(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> SettingsError:
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(os.environ)
    return caught.value


class TestDefaults:
    """What may be left out."""

    def test_only_environment_and_data_profile_are_needed(self) -> None:
        settings = load_settings(os.environ)
        assert (settings.environment, settings.data_profile) == ("development", "mock")
        assert (settings.port, settings.log_level) == (8000, "info")
        assert settings.api_token is None
        assert settings.version == "unknown"

    def test_an_image_built_without_arguments_has_an_unknown_version(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AEGIS_VERSION", "")
        monkeypatch.setenv("AEGIS_GIT_SHA", "")
        settings = load_settings(os.environ)
        assert (settings.version, settings.git_sha) == ("unknown", "unknown")

    def test_settings_cannot_be_changed(self) -> None:
        settings = Settings()
        with pytest.raises(ValueError, match="frozen"):
            settings.port = 1  # type: ignore[misc]


class TestBadValues:
    """A wrong value is named with what is allowed."""

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("AEGIS_ENVIRONMENT", None, "is missing: must be development, staging or production"),
            ("AEGIS_ENVIRONMENT", "prod", "='prod': must be development, staging or production"),
            ("AEGIS_DATA_PROFILE", "fake", "='fake': must be mock, sample or real"),
            ("AEGIS_LOG_LEVEL", "loud", "='loud': must be debug, info, warning or error"),
            ("AEGIS_PORT", "http", "='http': must be a whole number from 1 to 65535"),
            ("AEGIS_PORT", "65536", "='65536': must be a whole number from 1 to 65535"),
            ("AEGIS_PORT", "", "='': must be a whole number"),
            ("AEGIS_HOST", "", "='': must be an address to listen on"),
            ("AEGIS_DRAIN_SECONDS", "0", "='0': must be from 1 to 3600 seconds"),
            ("AEGIS_DRAIN_SECONDS", "inf", "='inf': must be from 1 to 3600 seconds"),
            ("AEGIS_KEEP_ALIVE_SECONDS", "-1", "='-1': must be a whole number of seconds"),
            ("AEGIS_VERSION", "v" * 129, "...': must be at most 128 characters"),
        ],
    )
    def test_the_variable_the_value_and_what_is_allowed_are_named(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, words: str
    ) -> None:
        (problem,) = refused(monkeypatch, **{name: value}).problems
        assert problem.startswith(name)
        assert words in problem

    def test_every_mistake_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = refused(monkeypatch, AEGIS_ENVIRONMENT=None, AEGIS_PORT="x", AEGIS_LOG_LEVEL="y")
        assert len(error.problems) == 3
        assert str(error).startswith("error: aegis-api cannot start: 3 settings are wrong\n")
        assert "next:" in str(error)

    def test_one_mistake_is_told_in_the_singular(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "a setting is wrong" in str(refused(monkeypatch, AEGIS_PORT="x"))


class TestDataPairing:
    """Which data an environment may serve."""

    @pytest.mark.parametrize(
        ("environment", "profile"),
        [
            ("production", "mock"),
            ("production", "sample"),
            ("staging", "real"),
            ("development", "real"),
        ],
    )
    def test_a_wrong_pair_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, environment: str, profile: str
    ) -> None:
        (problem,) = refused(
            monkeypatch, AEGIS_ENVIRONMENT=environment, AEGIS_DATA_PROFILE=profile
        ).problems
        assert f"AEGIS_DATA_PROFILE='{profile}': must be" in problem
        assert f"when AEGIS_ENVIRONMENT is {environment}" in problem

    @pytest.mark.parametrize(
        ("environment", "profile"),
        [
            ("production", "real"),
            ("staging", "sample"),
            ("staging", "mock"),
            ("development", "mock"),
            ("development", "sample"),
        ],
    )
    def test_a_right_pair_is_accepted(
        self, monkeypatch: pytest.MonkeyPatch, environment: str, profile: str
    ) -> None:
        monkeypatch.setenv("AEGIS_ENVIRONMENT", environment)
        monkeypatch.setenv("AEGIS_DATA_PROFILE", profile)
        assert load_settings(os.environ).data_profile == profile


class TestToken:
    """The token is checked and never shown."""

    @pytest.mark.parametrize("token", ["", " ", "two words", "unsichtbar\x07", "한국어"])
    def test_one_that_cannot_be_sent_is_refused_and_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, token: str
    ) -> None:
        (problem,) = refused(monkeypatch, AEGIS_API_TOKEN=token).problems
        assert problem.startswith("AEGIS_API_TOKEN (not shown): must be visible ASCII")
        assert not token.strip() or token not in problem

    def test_it_is_not_in_the_settings_own_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AEGIS_API_TOKEN", "s3cret-token")
        settings = load_settings(os.environ)
        assert "s3cret-token" not in f"{settings!r} {settings} {settings.model_dump(mode='json')}"


class TestDatabase:
    """Its address is a secret, and the way to it is encrypted unless it is the service's own."""

    ADDRESS = "postgresql://aegis:s3cret@db.example.org:5432/aegis"

    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("", "must be postgresql://user:password@host:port/name"),
            ("db.example.org", "must be postgresql://user:password@host:port/name"),
            ("mysql://aegis:s3cret@db/aegis", "must begin with postgresql://"),
            ("postgresql://aegis:s3cret@db", "database lacks"),
            ("postgresql://:s3cret@db/aegis", "username lacks"),
            ("postgresql://aegis:s3cret@/aegis", "host lacks"),
            ("postgresql://aegis:s3cret@db:port/aegis", "must be postgresql://user"),
            ("postgresql://aegis:s3cret@db/aegis?sslmode=disable", "must not set sslmode"),
            ("postgresql://aegis:s3cret@db/aegis?options=-cfsync", "must not set options"),
            ("postgresql://aegis:s3cret@db/aegis?passfile=x", "must not set passfile"),
        ],
    )
    def test_an_address_that_is_none_is_refused_and_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, address: str, words: str
    ) -> None:
        (problem,) = refused(monkeypatch, AEGIS_DATABASE_URL=address).problems
        assert problem.startswith("AEGIS_DATABASE_URL (not shown): ")
        assert words in problem
        assert "s3cret" not in problem

    def test_it_is_not_in_the_settings_own_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AEGIS_DATABASE_URL", self.ADDRESS)
        settings = load_settings(os.environ)
        assert settings.database_tls == "verify-full"
        assert "s3cret" not in f"{settings!r} {settings.model_dump_json()}"

    def test_nothing_is_unencrypted_in_production(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (problem,) = refused(
            monkeypatch,
            AEGIS_ENVIRONMENT="production",
            AEGIS_DATA_PROFILE="real",
            AEGIS_DATABASE_TLS="none",
        ).problems
        assert "must be verify-full when AEGIS_ENVIRONMENT is production" in problem

    def test_an_authority_that_is_no_certificate_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (problem,) = refused(monkeypatch, AEGIS_DATABASE_CA=str(tmp_path / "none")).problems
        assert "must be a file with a certificate: No such file" in problem
        (tmp_path / "ca").write_text("not one")
        (problem,) = refused(monkeypatch, AEGIS_DATABASE_CA=str(tmp_path / "ca")).problems
        assert "must be a file with a certificate: it holds none" in problem


class TestMisspelt:
    """Near misses of a name are found."""

    def test_a_near_miss_is_found_with_the_name_meant(self) -> None:
        assert misspelt(["AEGIS_TOKEN", "AEGIS_LOGLEVEL", "AEGIS_PORT"]) == {
            "AEGIS_TOKEN": "AEGIS_API_TOKEN",
            "AEGIS_LOGLEVEL": "AEGIS_LOG_LEVEL",
        }

    def test_what_kubernetes_sets_for_services_is_not_a_mistake(self) -> None:
        links = [
            "AEGIS_API_PORT",
            "AEGIS_API_PORT_80_TCP",
            "AEGIS_API_PORT_80_TCP_ADDR",
            "AEGIS_API_SERVICE_HOST",
            "AEGIS_API_SERVICE_PORT_HTTP",
        ]
        assert misspelt([*links, "PATH", "AEGIS_REGISTRY", "AEGIS_DATABASE_URL"]) == {}
