"""The service's pod: one container under Pod Security ``restricted``, with its probes."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta

from aegis_deploy.model.database import data_probes, schema
from aegis_deploy.model.database.dataset import DATASET
from components.database import CA_DIRECTORY, CA_FILE, CA_KEY, URL, Database
from components.labels import of_service, selector
from components.sizing import PodResources
from components.timings import Timings

PORT_NAME = "http"
PORT = 8000
PROBE_PATH = "/probe"
"""Where the service says whether it can read its data, or by POST write it."""

_USER = 65532
_CA_VOLUME = "database-authority"
_AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_AWAY_SECONDS = 30
"""How long pods stay on a node that Kubernetes gave up. By itself it gives them five minutes, for
the sake of those that must not run twice. Of this service more than one are no harm, and a rollout
whose new pod is on that node would exceed its progress deadline first and be blamed for it."""
_SPREAD_OVER = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


@dataclass(frozen=True, kw_only=True)
class PodArgs:
    """What the pods of a service are made from.

    Attributes:
        image: The image, by digest.
        version: The release's version, a label.
        resources: What a pod requests and may use.
        timings: How long its end may take.
        config_map: The ConfigMap that is its environment.
        secret: The Secret that is the rest of it, when there is one.
        service_account: Whom it runs as.
        database: The database it reads and writes, when there is one.
    """

    image: pulumi.Input[str]
    version: str
    resources: PodResources
    timings: Timings
    config_map: pulumi.Input[str]
    secret: pulumi.Input[str] | None
    service_account: pulumi.Input[str]
    database: Database | None = None


def pod_template(name: str, args: PodArgs) -> core.PodTemplateSpecArgs:
    """Describe the pods of the service called ``name``."""
    return core.PodTemplateSpecArgs(
        metadata=meta.ObjectMetaArgs(
            labels={**of_service(name), "app.kubernetes.io/version": args.version},
            annotations=None if args.database is None else _says(args.database),
        ),
        spec=core.PodSpecArgs(
            service_account_name=args.service_account,
            automount_service_account_token=False,
            enable_service_links=False,
            termination_grace_period_seconds=args.timings.grace_period,
            security_context=identity(),
            tolerations=[_while_away(taint) for taint in _AWAY],
            volumes=ca_volumes(args.database, args.config_map),
            topology_spread_constraints=[
                core.TopologySpreadConstraintArgs(
                    topology_key=key,
                    max_skew=1,
                    # A rollout never waits for a node to come free.
                    when_unsatisfiable="ScheduleAnyway",
                    label_selector=meta.LabelSelectorArgs(match_labels=selector(name)),
                    # Spread each release by itself: the old one's pods are about to go.
                    match_label_keys=["pod-template-hash"],
                )
                for key in _SPREAD_OVER
            ],
            containers=[_container(name, args)],
        ),
    )


def _while_away(taint: str) -> core.TolerationArgs:
    return core.TolerationArgs(
        key=taint, operator="Exists", effect="NoExecute", toleration_seconds=_AWAY_SECONDS
    )


def identity() -> core.PodSecurityContextArgs:
    """Whom a pod of the service's image runs as: nobody."""
    return core.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=_USER,
        run_as_group=_USER,
        seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
    )


def confined() -> core.SecurityContextArgs:
    """What a container of the service's image may do: nothing beyond running."""
    return core.SecurityContextArgs(
        allow_privilege_escalation=False,
        privileged=False,
        read_only_root_filesystem=True,
        run_as_non_root=True,
        capabilities=core.CapabilitiesArgs(drop=["ALL"]),
    )


def environment_from(
    config_map: pulumi.Input[str], secret: pulumi.Input[str] | None
) -> list[core.EnvFromSourceArgs]:
    """Where a container of the service's image has its settings from."""
    found = [core.EnvFromSourceArgs(config_map_ref=core.ConfigMapEnvSourceArgs(name=config_map))]
    if secret is not None:
        found.append(core.EnvFromSourceArgs(secret_ref=core.SecretEnvSourceArgs(name=secret)))
    return found


def own_environment(database: Database | None) -> list[core.EnvVarArgs] | None:
    """The address of the stack's own database, from the Secret that was made with it."""
    if database is None or database.secret is None:
        return None
    reference = core.SecretKeySelectorArgs(name=database.secret, key=URL)
    source = core.EnvVarSourceArgs(secret_key_ref=reference)
    return [core.EnvVarArgs(name=URL, value_from=source)]


def dataset_annotation(database: Database) -> dict[str, str]:
    """What pods say of the data set that they work on; nothing where it is none."""
    return {} if database.dataset is None else {DATASET: database.dataset}


def ca_volumes(
    database: Database | None, config_map: pulumi.Input[str]
) -> list[core.VolumeArgs] | None:
    """The volume with the certificate of the database's authority, when it has one of its own."""
    if database is None or database.authority is None:
        return None
    items = [core.KeyToPathArgs(key=CA_KEY, path=CA_FILE)]
    source = core.ConfigMapVolumeSourceArgs(name=config_map, items=items)
    return [core.VolumeArgs(name=_CA_VOLUME, config_map=source)]


def ca_mounts(database: Database | None) -> list[core.VolumeMountArgs] | None:
    """Where that volume is mounted."""
    if database is None or database.authority is None:
        return None
    return [core.VolumeMountArgs(name=_CA_VOLUME, mount_path=CA_DIRECTORY, read_only=True)]


def _says(database: Database) -> dict[str, str]:
    """What the pods say of the schemas that they work with, and of how to see that they do.

    See docs/schema.md, and The gate in the README.
    """
    said = {schema.HEAD: database.schema.head, schema.LEAST: database.schema.least}
    if database.schema.irreversible:
        said[schema.IRREVERSIBLE] = database.schema.irreversible
    asked = dict.fromkeys(data_probes.ANNOTATIONS.values(), PROBE_PATH)
    numbers = {name: str(number) for name, number in said.items()}
    return {**numbers, **asked, **dataset_annotation(database)}


def _container(name: str, args: PodArgs) -> core.ContainerArgs:
    return core.ContainerArgs(
        name=name,
        image=args.image,
        image_pull_policy="IfNotPresent",
        ports=[core.ContainerPortArgs(name=PORT_NAME, container_port=PORT, protocol="TCP")],
        env_from=environment_from(args.config_map, args.secret),
        env=own_environment(args.database),
        volume_mounts=ca_mounts(args.database),
        resources=core.ResourceRequirementsArgs(
            requests=args.resources.requests(), limits=args.resources.limits()
        ),
        # Up to a minute to start, looked at often so that a quick start is seen as one.
        startup_probe=_probe("/livez", period=1, timeout=1, failures=60),
        # Out of the Service after three misses; whether it is draining or overloaded, no restart.
        readiness_probe=_probe("/readyz", period=2, timeout=2, failures=3),
        # A restart loses requests: only after a minute without any answer.
        liveness_probe=_probe("/livez", period=10, timeout=5, failures=6),
        lifecycle=core.LifecycleArgs(
            # The pod still serves while every proxy learns that it is going.
            pre_stop=core.LifecycleHandlerArgs(
                sleep=core.SleepActionArgs(seconds=args.timings.pre_stop)
            )
        ),
        security_context=confined(),
    )


def _probe(path: str, *, period: int, timeout: int, failures: int) -> core.ProbeArgs:
    return core.ProbeArgs(
        http_get=core.HTTPGetActionArgs(path=path, port=PORT_NAME),
        period_seconds=period,
        timeout_seconds=timeout,
        failure_threshold=failures,
    )
