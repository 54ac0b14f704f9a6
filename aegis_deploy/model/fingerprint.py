"""What a release runs, in a form that is recognised again: its images, beside its settings.

Pure. Images are compared by their whole reference. Where a preview cannot know one yet, because
the update has to build it first, nothing is claimed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from aegis_deploy.model import declared
from aegis_deploy.model.events import Step
from aegis_deploy.model.release import MASK, ConfigValue
from aegis_deploy.model.routes.external_routes import Route, of_resource
from aegis_deploy.model.workloads.pod_images import images_of
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.model.workloads.workload_kinds import JOB, gated, is_job, is_ungated, is_workload

_GONE = ("delete", "delete-replaced", "discard", "discard-replaced")
_READ = ("read", "read-replacement")
Place = Callable[[str], str | None]
"""Which cluster a provider leads to, by its URN: as `Workload.cluster` has it; None for none."""


def provider_of(resource: Mapping[str, Any]) -> str:
    """Return the URN of a resource's provider, as a state has the resource; empty for none."""
    return str(resource.get("provider") or "").rpartition("::")[0]


def only(_: str) -> str:
    """The place of everything in a stack with one cluster."""
    return ""


def fingerprint(image_digest: str | None, config: Mapping[str, ConfigValue]) -> str:
    """Name what a release deploys: its image and settings, but not when or by whom.

    Secrets count by their ciphertext, which stays the same until somebody sets them anew.

    Args:
        image_digest: The image's digest.
        config: The settings, as recorded in history or as `Session.settings` reads them.
    """
    content = [image_digest, sorted((key, _scalar(item)) for key, item in config.items())]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def joined(images: Iterable[str]) -> str | None:
    """Return images as one name for all of them; None when one is not known, or there is none."""
    every = sorted(set(images))
    return None if not every or "" in every else " ".join(every)


def images_of_steps(steps: Iterable[Step]) -> str | None:
    """Return the images that a preview's or an update's workloads run.

    Args:
        steps: Every step, those that change nothing too; of a resource's several the last counts.

    Returns:
        The references, joined; None when one of them is not known yet, or there is none.
    """
    last = {step.urn: step for step in steps if is_workload(step.type) and step.op not in _GONE}
    return joined(image for step in last.values() for image in step.images)


def declared_by_steps(steps: Iterable[Step]) -> str:
    """Return what a preview's program declares, as `model.declared` has it."""
    last = {step.urn: step for step in steps if step.op not in _GONE}
    return declared.joined({urn: step.declared for urn, step in last.items()})


def images_of_state(resources: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the images that a state's workloads run.

    The outputs are asked, not the inputs: after a failed rollout a state has the old inputs.
    """
    found: list[str] = []
    for resource in resources:
        if not is_workload(str(resource.get("type"))) or resource.get("delete"):
            continue
        found += images_of(resource.get("outputs"))
    return joined(found)


def workloads_of_state(
    resources: Iterable[Mapping[str, Any]], place: Place = only
) -> list[Workload]:
    """Return what a state has that a gate judges; what it only reads is somebody else's.

    Args:
        resources: Its resources.
        place: Which cluster each of their providers leads to; what is in none is left out.
    """
    found: dict[Workload, None] = {}
    for resource in resources:
        kind = gated(str(resource.get("type")))
        if kind is None or resource.get("delete") or resource.get("external"):
            continue
        metadata = (resource.get("outputs") or {}).get("metadata")
        metadata = metadata or (resource.get("inputs") or {}).get("metadata") or {}
        provider = provider_of(resource)
        if metadata.get("name") and (cluster := place(provider)) is not None:
            workload = Workload(
                namespace=metadata.get("namespace") or "default",
                name=metadata["name"],
                kind=kind,
                cluster=cluster,
                provider=provider,
            )
            found[workload] = None
    return list(found)


def ungated_of_state(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what a state has that runs pods and that no gate looks at, as a person calls it."""
    return [
        f"{str(it['type']).rpartition(':')[2]} {str(it['urn']).rpartition('::')[2]}"
        for it in resources
        if not it.get("delete")
        and not it.get("external")
        and is_ungated(str(it.get("type")), it.get("inputs"))
    ]


def rendered_of_state(resources: Iterable[Mapping[str, Any]], place: Place) -> list[str]:
    """Return what a gate would judge and is in no cluster, as a person calls it.

    Args:
        resources: A state's resources.
        place: Which cluster each of their providers leads to.
    """
    return [
        f"{str(it['type']).rpartition(':')[2]} {str(it['urn']).rpartition('::')[2]}"
        for it in resources
        if gated(str(it.get("type")))
        and not it.get("delete")
        and not it.get("external")
        and place(provider_of(it)) is None
    ]


def workloads_of_steps(steps: Iterable[Step], place: Place = only) -> list[Workload]:
    """Return what is judged of what a preview is about, as far as it can name it.

    Args:
        steps: The preview's.
        place: Which cluster each of their providers leads to; what is in none is left out.
    """
    return [
        found
        for step in {step.urn: step for step in steps}.values()
        for kind in [gated(step.type)]
        if kind and step.op not in (*_GONE, *_READ)
        for found in _named(step, kind, place)
    ]


def jobs_of_steps(steps: Iterable[Step], place: Place = only) -> list[Workload]:
    """Return the Jobs that run when a preview is carried out, as far as it can name them.

    Args:
        steps: The preview's.
        place: Which cluster each of their providers leads to; what is in none is left out.
    """
    return [
        found
        for step in {step.urn: step for step in steps if step.op not in _GONE}.values()
        if is_job(step.type) and step.changes
        for found in _named(step, JOB, place)
    ]


def routes_of_state(resources: Iterable[Mapping[str, Any]], place: Place = only) -> list[Route]:
    """Return the ways in from outside that a state has; what it only reads is somebody else's.

    Args:
        resources: Its resources.
        place: Which cluster each of their providers leads to; what is in none is left out.
    """
    found = []
    for it in resources:
        route = of_resource(str(it.get("type")), it.get("inputs") or {})
        provider = provider_of(it)
        owned = not it.get("delete") and not it.get("external")
        if route is not None and owned and place(provider) is not None:
            found.append(_placed(route, provider, place))
    return found


def routes_of_steps(steps: Iterable[Step], place: Place = only) -> list[tuple[Route, Step]]:
    """Return the ways in from outside that there are after a preview is carried out.

    Args:
        steps: The preview's.
        place: Which cluster each of their providers leads to; what is in none is left out.
    """
    return [
        (_placed(step.route, step.provider, place), step)
        for step in {step.urn: step for step in steps}.values()
        if step.route is not None
        and step.op not in (*_GONE, *_READ)
        and place(step.provider) is not None
    ]


def remains(step: Step) -> bool:
    """Return whether what a step is about is there after it."""
    return step.op not in _GONE


def _placed(route: Route, provider: str, place: Place) -> Route:
    return replace(route, cluster=place(provider) or "", provider=provider)


def _named(step: Step, kind: str, place: Place) -> list[Workload]:
    cluster = place(step.provider)
    if not step.object or cluster is None:
        return []
    namespace = step.namespace or "default"
    return [
        Workload(
            namespace=namespace,
            name=step.object,
            kind=kind,
            cluster=cluster,
            provider=step.provider,
        )
    ]


def is_shown(step: Step) -> bool:
    """Return whether a step is news to a person: not what only groups or connects."""
    return step.changes and step.custom and not step.type.startswith("pulumi:")


def called(step: Step) -> str:
    """Return a step in a person's words: ``update Deployment api``."""
    return f"{step.op} {step.type.rpartition(':')[2]} {step.object or step.name}"


def _scalar(item: ConfigValue) -> Any:  # noqa: ANN401 - any JSON value
    return MASK if item.secret and not item.encrypted else item.as_recorded
