"""Whether an image is there: yes, no, or nobody can say; never a guess."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ops.registry import Reference, look_up, look_up_all, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (f"r.example.com/a/b@{DIGEST}", Reference("r.example.com", "a/b", DIGEST)),
        (f"r:5000/a:1.2@{DIGEST}", Reference("r:5000", "a", DIGEST)),
        ("r:5000/a:1.2", Reference("r:5000", "a", "1.2")),
        ("localhost/a", Reference("localhost", "a", "latest")),
        ("nginx:1.2", None),
        ("team/app:1", None),
    ],
)
def test_a_reference_is_taken_apart(image: str, expected: Reference | None) -> None:
    assert parse(image) == expected


class _Registry:
    """Answers as it was told to; a scheme it was not told about is not served."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, url: str, headers: Mapping[str, str]) -> int:
        self.asked.append(url)
        assert "manifest" in headers["Accept"]
        scheme = url.partition(":")[0]
        if scheme not in self.answers:
            raise ConnectionError("refused")
        return self.answers[scheme]


@pytest.mark.parametrize(
    ("answers", "there", "why"),
    [
        ({"https": 200}, True, ""),
        ({"https": 404}, False, ""),
        ({"http": 200}, True, ""),
        ({"http": 404}, False, ""),
        ({"https": 401}, None, "answers 401"),
        ({"https": 500, "http": 404}, None, "answers 500"),
        ({}, None, "does not answer"),
    ],
)
def test_only_a_registrys_own_word_counts(
    answers: dict[str, int], there: bool | None, why: str
) -> None:
    found = look_up(f"r:5000/a@{DIGEST}", _Registry(**answers))
    assert found.there is there
    assert why in found.why
    assert found.reached is bool(answers)


def test_an_image_without_a_registry_in_its_name_is_unknown() -> None:
    assert look_up("nginx", _Registry()).there is None


def test_an_image_is_asked_for_once() -> None:
    registry = _Registry(https=200)
    assert len(look_up_all(["r:5000/a", "r:5000/a"], registry)) == 1
    assert registry.asked == ["https://r:5000/v2/a/manifests/latest"]
