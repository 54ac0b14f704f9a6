"""aegis_deploy.model.gate_settings: what `aegis:gate` may be."""

from __future__ import annotations

import dataclasses
import json

import pytest

from aegis_deploy.model.gate_settings import (
    FIELDS,
    DataPaths,
    GateSettings,
    Prometheus,
    Share,
    gate_settings,
)

WRONG = [
    ("[]", "is not a group of settings"),
    ("15", "is not a group of settings"),
    ("", "is not a group of settings"),
    ('{"bakeSeconds": -1}', "out of range"),
    ('{"bakeSeconds": true}', "is not a number"),
    ('{"bakeSeconds": null}', "is not a number"),
    ('{"bakeSeconds": "NaN"}', "is not a number"),
    ('{"successRatio": 99}', "out of range"),
    ('{"canary": 2.5}', "is not a whole number"),
    ('{"crashes": 0}', "out of range"),
    ('{"path": "version"}', "is not a path"),
    ('{"path": "/a b"}', "is not a path"),
    ('{"versionCheck": "maybe"}', "is neither true nor false"),
    ('{"p99ms": 5}', "the nearest is p99Ms"),
    ('{"prometheus": 5}', "is not a group"),
    ('{"prometheus": {"url": "prom:9090", "query": "up", "most": 1}}', "has no url"),
    ('{"prometheus": {"url": "http://prom", "most": 1}}', "has no query"),
    ('{"prometheus": {"url": "http://prom", "query": "up"}}', "has neither most nor least"),
    ('{"prometheus": {"url": "http://prom", "query": "up", "max": 1}}', "unknown member max"),
    ('{"data": true}', "data: True is not a group of read and write, it is to be paths as read"),
    ('{"data": {}}', "has neither read nor write"),
    ('{"data": {"reed": "/a"}}', "has the unknown member reed"),
    ('{"data": {"read": "/a", "write": "b c"}}', "has 'b c' for write, which is not a path"),
    ('{"canary": "0%"}', "is no such share"),
    ('{"canary": "0.001%"}', "is no such share"),
    ('{"canary": "50.01%"}', "is no such share"),
    ('{"canary": "99%"}', "is no such share"),
    ('{"canary": " 5%"}', "is no such share"),
    ('{"through": "door"}', "through: 'door' is not one of them"),
    ('{"address": "https://lb.test"}', "is not an address"),
    ('{"address": "lb.test:0"}', "is not an address"),
    ('{"address": "2001:db8::1"}', "is not an address"),
    ('{"ca": "ca.pem"}', "is no certificate in PEM"),
    ('{"ca": "-----BEGIN CERTIFICATE-----"}', "is no certificate in PEM"),
    ('{"data": {"read": 5}}', "has 5 for read, which is not a path"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_what_is_wrong_is_refused_and_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="is ") as refused:
        gate_settings(text)
    assert why in str(refused.value)


@pytest.mark.parametrize("name", ["canary", "crashes", "bakeSeconds", "p99Ms"])
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", float("inf"), float("nan"), "1e999"])
def test_what_is_no_finite_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name}: .* is not a number"):
        gate_settings({name: value})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="bakeSeconds") as refused:
        gate_settings({"bakeSeconds": "long", "canary": -1, "color": "red"})
    assert all(name in str(refused.value) for name in ("bakeSeconds", "canary", "color"))


def test_nothing_means_the_defaults() -> None:
    assert gate_settings("{}") == GateSettings()


def test_numbers_may_be_text_as_the_command_line_leaves_them() -> None:
    read = gate_settings({"successRatio": "0.5", "canary": "3", "versionCheck": "false"})
    assert (read.success_ratio, read.canary, read.version_check) == (0.5, 3, False)


def test_a_query_is_read_with_its_threshold() -> None:
    asked = {"url": "http://prometheus:9090/", "query": "up", "least": 1}
    read = gate_settings(json.dumps({"prometheus": asked}))
    assert read.prometheus == Prometheus(url="http://prometheus:9090", query="up", least=1.0)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"read": "/v1/records?limit=1"}, DataPaths(read="/v1/records?limit=1")),
        ({"read": "/a", "write": "/b"}, DataPaths(read="/a", write="/b")),
        (False, DataPaths()),
        ("false", DataPaths()),
    ],
)
def test_paths_to_data_are_read_and_can_be_turned_off(given: object, read: DataPaths) -> None:
    assert gate_settings(json.dumps({"data": given})).data == read


def test_every_setting_can_be_set() -> None:
    attributes = {field.name for field in dataclasses.fields(GateSettings)}
    assert {field.attribute for field in FIELDS.values()} == attributes


@pytest.mark.parametrize(
    ("text", "hundredths"),
    [("1%", 100), ("10%", 1000), ("49.99%", 4999), ("50%", 5000), ("0.01%", 1), ("0.5%", 50)],
)
def test_a_canary_may_be_a_share_of_requests(text: str, hundredths: int) -> None:
    read = gate_settings({"canary": text})
    assert read.canary_share == Share(hundredths)
    assert str(read.canary_share) == text
    assert read.canary_seconds == 0


def test_a_canary_may_be_seconds() -> None:
    read = gate_settings({"canary": "30"})
    assert (read.canary_seconds, read.canary_share) == (30, None)
