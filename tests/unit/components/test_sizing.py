"""components.sizing: every stack's size follows from production's."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.quantities import Cpu, Memory
from components.sizing import Autoscale, PodResources, Scale, Size, size_of_stack
from tests.rendering import render

POD = PodResources(
    cpu_request=Cpu(100),
    cpu_limit=Cpu(1000),
    memory_request=Memory(128),
    memory_limit=Memory(256),
)


def production(replicas: int) -> Size:
    return Size(replicas=replicas, pod=POD)


class TestReplicasFollowFromProduction:
    """A stack gives only its scale."""

    @pytest.mark.parametrize(
        ("replicas", "scale", "expected"),
        [
            (4, "1", 4),
            (4, "0.5", 2),
            (3, "0.5", 2),
            (1, "0.5", 1),
            (5, "0.5", 3),
            (4, "0.01", 1),
            (4, "minimal", 1),
            (100, "0.07", 7),
        ],
    )
    def test_replicas_round_up_and_are_never_zero(
        self, replicas: int, scale: str, expected: int
    ) -> None:
        assert size_of_stack(production(replicas), Scale.parse(scale)).replicas == expected

    @pytest.mark.parametrize(
        ("stack", "replicas"), [("development", 1), ("staging", 2), ("production", 4)]
    )
    def test_the_committed_stacks_have_their_sizes(self, stack: str, replicas: int) -> None:
        rendering = render(stack)
        assert rendering.one("Deployment").manifest["spec"]["replicas"] == replicas
        assert rendering.outputs["replicas"] == replicas

    def test_staging_follows_when_production_grows(self) -> None:
        grown = render("staging", productionReplicas="10")
        assert grown.one("Deployment").manifest["spec"]["replicas"] == 5

    def test_minimal_asks_for_less_and_may_use_as_much(self) -> None:
        minimal = size_of_stack(production(4), Scale.parse("minimal")).pod
        assert minimal.requests() == {"cpu": "50m", "memory": "64Mi"}
        assert minimal.limits() == POD.limits()

    def test_a_share_changes_how_many_pods_not_how_large(self) -> None:
        assert size_of_stack(production(4), Scale.parse("0.5")).pod == POD

    @given(st.integers(1, 1000), st.fractions(Fraction(1, 1000), 1))
    def test_never_above_production_never_below_the_share(
        self, replicas: int, share: Fraction
    ) -> None:
        size = size_of_stack(production(replicas), Scale(share))
        assert replicas * share <= size.replicas <= replicas
        assert size.replicas >= 1


class TestScale:
    """A scale is a share of production, or minimal."""

    @pytest.mark.parametrize("text", ["0", "-1", "1.5", "2", "", "half", "1/0", "Minimal", "nan"])
    def test_refuses_what_is_no_share(self, text: str) -> None:
        with pytest.raises(ValueError, match="is n"):
            Scale.parse(text)


class TestRoomForARollout:
    """What a rollout needs fits in what the namespace may use."""

    @given(st.integers(1, 1000))
    def test_a_rollout_fits_while_every_old_pod_still_drains(self, replicas: int) -> None:
        size = production(replicas)
        assert size.surge >= 1
        assert size.pods_at_most >= replicas + size.surge + replicas

    @given(st.integers(1, 1000))
    def test_steps_are_enough_for_all_the_pods(self, replicas: int) -> None:
        size = production(replicas)
        assert size.rollout_steps * size.surge >= replicas

    @given(st.integers(2, 1000))
    def test_a_drain_leaves_most_of_the_pods(self, replicas: int) -> None:
        assert 1 <= int(production(replicas).disruptions) <= ceil(replicas / 2)

    def test_quota_is_the_pods_times_what_one_takes(self) -> None:
        assert production(4).quota() == {
            "pods": "10",
            "requests.cpu": "1",
            "requests.memory": "1280Mi",
            "limits.cpu": "10",
            "limits.memory": "2560Mi",
        }


class TestAutoscale:
    """How far a stack is multiplied follows from production too."""

    @pytest.mark.parametrize(
        ("scale", "least", "most"),
        [("1", 4, 12), ("0.5", 2, 6), ("0.3", 2, 4), ("minimal", 1, 1)],
    )
    def test_a_stack_has_its_share_of_both_numbers(self, scale: str, least: int, most: int) -> None:
        scaled = Autoscale(maximum=12, cpu_percent=60)
        size = size_of_stack(Size(replicas=4, pod=POD, autoscale=scaled), Scale.parse(scale))
        assert (size.replicas, size.most_replicas) == (least, most)
        assert (size.autoscale is None) == (scale == "minimal")

    @given(st.integers(1, 1000), st.integers(0, 1000), st.fractions(Fraction(1, 1000), 1))
    def test_a_rollout_at_the_most_fits_in_the_quota(
        self, replicas: int, more: int, share: Fraction
    ) -> None:
        scaled = Autoscale(maximum=replicas + more, cpu_percent=70)
        size = size_of_stack(Size(replicas=replicas, pod=POD, autoscale=scaled), Scale(share))
        assert size.replicas <= size.most_replicas
        # The API rounds a share of the pods that may be started up.
        surge = ceil(size.most_replicas * int(str(size.max_surge).rstrip("%")) / 100)
        assert size.surge == max(1, surge)
        assert size.pods_at_most >= 2 * size.most_replicas + surge
        assert size.rollout_steps * size.surge >= size.most_replicas
