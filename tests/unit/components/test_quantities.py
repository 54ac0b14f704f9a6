"""components.quantities: amounts as Kubernetes prints them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from components.quantities import Cpu, Memory


class TestCpu:
    """CPU time."""

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [("100m", "100m"), ("1", "1"), ("1000m", "1"), ("0.5", "500m"), ("1.25", "1250m")],
    )
    def test_is_written_as_kubernetes_writes_it(self, text: str, canonical: str) -> None:
        assert str(Cpu.parse(text)) == canonical

    @pytest.mark.parametrize(
        "text", ["", "0", "0m", "0.0", "-1", "1.2345", "100 m", "half", "1k", "\u0661", "1e3"]
    )
    def test_refuses_what_is_no_amount(self, text: str) -> None:
        with pytest.raises(ValueError, match="is "):
            Cpu.parse(text)

    def test_rounds_a_share_up(self) -> None:
        assert str(Cpu.parse("25m").times(Fraction(1, 2))) == "13m"


class TestMemory:
    """Memory."""

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [("128Mi", "128Mi"), ("1Gi", "1Gi"), ("1024Mi", "1Gi"), ("1536Mi", "1536Mi")],
    )
    def test_is_written_as_kubernetes_writes_it(self, text: str, canonical: str) -> None:
        assert str(Memory.parse(text)) == canonical

    @pytest.mark.parametrize("text", ["", "0Mi", "128", "128M", "1.5Gi", "-1Mi", "128mi", "lots"])
    def test_refuses_what_is_no_amount(self, text: str) -> None:
        with pytest.raises(ValueError, match="is "):
            Memory.parse(text)

    def test_compares_across_units(self) -> None:
        assert Memory.parse("1Gi") > Memory.parse("1000Mi")
