"""How large a stack is, derived from production's size and the stack's scale.

Production's size is written once, in ``Pulumi.yaml``; everything here follows from it: replicas,
surge, the disruption budget, quota.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from aegis_deploy.model.gate_settings import Share
from aegis_deploy.model.setting_forms import OTHERWISE, exactly, number_text
from components.quantities import Cpu, Memory

MINIMAL_REQUEST_SHARE = Fraction(1, 2)
"""What a pod of a minimal stack requests, as a share of what production's request."""

AUTOSCALE_CPU_PERCENT = 70
"""The CPU above which there are more pods, unless a stack says another: a rest for what comes while
they start."""

_SURGE_SHARE = Fraction(1, 4)
_DISRUPTION_SHARE = Fraction(1, 4)
_SPARE_PODS = 1


@dataclass(frozen=True, kw_only=True)
class PodResources:
    """What one pod asks for and what it may use at most."""

    cpu_request: Cpu
    cpu_limit: Cpu
    memory_request: Memory
    memory_limit: Memory

    def requests(self) -> dict[str, str]:
        """The requests as a container spec writes them."""
        return {"cpu": str(self.cpu_request), "memory": str(self.memory_request)}

    def limits(self) -> dict[str, str]:
        """The limits as a container spec writes them."""
        return {"cpu": str(self.cpu_limit), "memory": str(self.memory_limit)}


@dataclass(frozen=True)
class Scale:
    """A stack's size against production's: a share of its replicas, or the least that runs."""

    share: Fraction | None
    """The share of production's replicas; None means minimal: one replica, smaller requests."""

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read ``minimal`` or a share in (0, 1], such as ``0.5``.

        Raises:
            ValueError: The text is neither.
        """
        if text == "minimal":
            return cls(None)
        if not text.isascii():
            raise ValueError("is neither a number nor minimal")
        try:
            # Not float: 0.07 * 100 is 7.000000000000001, which rounds up to 8 replicas.
            share = Fraction(text)
        except (ValueError, ZeroDivisionError):
            raise ValueError("is neither a number nor minimal") from None
        if not 0 < share <= 1:
            raise ValueError("is not above 0 and at most 1")
        return cls(share)


SCALE_SCHEMA = {
    "anyOf": [
        {"const": "minimal"},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        # A schema cannot divide: of a fraction it leaves the size to the program.
        exactly(rf"{number_text(0, 1, above=True)}|\s*[0-9_]+/[0-9_]+\s*|{OTHERWISE}"),
    ]
}
"""What :meth:`Scale.parse` reads, as a JSON schema."""


@dataclass(frozen=True, kw_only=True)
class Autoscale:
    """How far a stack's pods are multiplied under load.

    Attributes:
        maximum: How many pods there are at most.
        cpu_percent: The CPU that they use on average, in percent of what they request, above which
            there are more of them.
    """

    maximum: int
    cpu_percent: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many pods a stack runs and how large each is.

    Attributes:
        replicas: How many pods; beside an autoscaler, how many at least.
        pod: What one of them takes.
        autoscale: How many more there may be under load; None means no autoscaler.
        canaries: How many pods there are beside them that a release comes to first.
    """

    replicas: int
    pod: PodResources
    autoscale: Autoscale | None = None
    canaries: int = 0

    @property
    def most_replicas(self) -> int:
        """How many pods there are at most, while nothing is rolled out."""
        return self.replicas if self.autoscale is None else self.autoscale.maximum

    @property
    def surge(self) -> int:
        """How many pods above them a rollout may start: a quarter, at least one."""
        return max(1, ceil(self.most_replicas * _SURGE_SHARE))

    @property
    def max_surge(self) -> int | str:
        """The same as a Deployment says it: a share of however many pods it has then."""
        return self.surge if self.autoscale is None else _percent(_SURGE_SHARE)

    @property
    def rollout_steps(self) -> int:
        """How many batches of pods a full rollout takes."""
        return ceil(self.most_replicas / self.surge)

    @property
    def disruptions(self) -> int | str:
        """How many pods a node drain may take away at once: a quarter, at least one.

        One also where there is a single replica: that one cannot be kept through a drain, and
        holding the node for ever helps nobody. Of a number that changes it is a share, which
        Kubernetes rounds up.
        """
        if self.autoscale is not None:
            return _percent(_DISRUPTION_SHARE)
        return max(1, int(self.replicas * _DISRUPTION_SHARE))

    @property
    def pods_at_most(self) -> int:
        """How many pods the namespace must have room for.

        A rollout runs ``most_replicas + surge`` pods, but quota also counts those that still
        drain, and when draining outlasts starting these may be all the old ones. One more is
        spare, for a job or for somebody who looks around.
        """
        # Those of a canary are replaced one by one, and may all still drain as well.
        beside = 2 * self.canaries + 1 if self.canaries else 0
        return 2 * self.most_replicas + self.surge + beside + _SPARE_PODS

    def quota(self, beside: Sequence[PodResources] = ()) -> dict[str, str]:
        """The hard limits of the namespace's ResourceQuota.

        Args:
            beside: The pods that it must have room for beside the service's.
        """
        pods = [*[self.pod] * self.pods_at_most, *beside]
        return {
            "pods": str(len(pods)),
            "requests.cpu": str(sum((it.cpu_request for it in pods), Cpu(0))),
            "requests.memory": str(sum((it.memory_request for it in pods), Memory(0))),
            "limits.cpu": str(sum((it.cpu_limit for it in pods), Cpu(0))),
            "limits.memory": str(sum((it.memory_limit for it in pods), Memory(0))),
        }

    def most(self, beside: Sequence[PodResources] = ()) -> dict[str, str]:
        """What one container of the namespace may use at most, whichever it is.

        Args:
            beside: The pods that there are beside the service's.
        """
        pods = [self.pod, *beside]
        return {
            "cpu": str(max(it.cpu_limit for it in pods)),
            "memory": str(max(it.memory_limit for it in pods)),
        }


def with_canary(size: Size, share: Share) -> Size:
    """Return a size with the pods of a canary beside the others.

    As many as its share of requests asks for, so that none of them gets more than any other.

    Args:
        size: How many others there are.
        share: The share of requests that goes to the canary.
    """
    return replace(size, canaries=ceil(share.of_all * size.most_replicas))


def size_of_stack(production: Size, scale: Scale) -> Size:
    """Derive a stack's size from production's.

    Replicas round up and are never 0, and so does the number that an autoscaler may make of them. A
    minimal stack's pods request less, but keep production's limits, so that they behave the same
    under load; it has one pod and no autoscaler.
    """
    if scale.share is not None:
        scaled = production.autoscale
        if scaled is not None:
            scaled = replace(scaled, maximum=ceil(scaled.maximum * scale.share))
        return Size(
            replicas=ceil(production.replicas * scale.share), pod=production.pod, autoscale=scaled
        )
    pod = production.pod
    return Size(
        replicas=1,
        pod=PodResources(
            cpu_request=pod.cpu_request.times(MINIMAL_REQUEST_SHARE),
            cpu_limit=pod.cpu_limit,
            memory_request=pod.memory_request.times(MINIMAL_REQUEST_SHARE),
            memory_limit=pod.memory_limit,
        ),
    )


def _percent(share: Fraction) -> str:
    return f"{int(100 * share)}%"
