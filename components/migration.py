"""The Job that brings a database to a release's schema before the release is rolled out."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes.batch.v1 as batch
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.networking.v1 as networking

from aegis_deploy.model.database import schema
from components.api_pod import (
    ca_mounts,
    ca_volumes,
    confined,
    dataset_annotation,
    environment_from,
    identity,
    own_environment,
)
from components.database import Database
from components.labels import of_service, selector
from components.release_config import content_hash
from components.sizing import PodResources

_SECONDS = 900
"""How long all of it may take, tries included."""
_TRIES = 3
_CONTAINER = "migrate"
_FINAL = (2, 3, 4)
"""Exit codes of `python -m app.migrate` after which another try would come to the same."""
_SAYS = {
    schema.JOB: "true",
    schema.CONTRACT_ARGS: json.dumps(["--contract"]),
    schema.PLAN_ARGS: json.dumps(["--contract", "--plan"]),
    schema.REHEARSE_ARGS: json.dumps(["--contract", "--rehearse"]),
    schema.PROBE_ARGS: json.dumps(["--probe"]),
    schema.REVISIONS: json.dumps(["python3", "-m", "app.migrate", "--revisions"]),
}
"""What its pods say of themselves; see docs/schema.md."""


@dataclass(frozen=True, kw_only=True)
class MigrationArgs:
    """What a migration is made from.

    Attributes:
        namespace: Where it runs.
        image: The release's image, which has its revisions.
        database: What it brings to the release's schema.
        resources: What its pod requests and may use.
        config_map: The ConfigMap that is its environment.
        secret: The Secret that is the rest of it.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    database: Database
    resources: PodResources
    config_map: pulumi.Input[str]
    secret: pulumi.Input[str] | None


class Migration(pulumi.ComponentResource):
    """A Job for each schema and database, run once for each image.

    What it applies leaves the release before working; contracts wait until they are asked for. On a
    database that is at its schema or beyond it changes nothing, and says whether its image fits
    before the first pod of the rollout does.
    """

    job: batch.Job
    """It; a rollout waits for it."""

    def __init__(
        self, service: str, args: MigrationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        head = args.database.schema.head
        which = content_hash({"database": args.database.place})[:8]
        name = f"{service}-migrate-{head}-{which}"
        super().__init__("aegis:migration:Migration", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        called = pods_of(service)
        labels = of_service(called)
        metadata = meta.ObjectMetaArgs(
            name=name,
            namespace=args.namespace,
            labels=labels,
            # The next update runs one that failed again, and does not fail by looking at it; see
            # https://github.com/pulumi/pulumi-kubernetes/issues/856
            annotations={"pulumi.com/replaceUnready": "true"},
        )
        policy = networking.NetworkPolicy(
            name,
            metadata=meta.ObjectMetaArgs(name=name, namespace=args.namespace, labels=labels),
            spec=egress_to(args.database, meta.LabelSelectorArgs(match_labels=selector(called))),
            opts=child,
        )
        self.job = batch.Job(
            name,
            metadata=metadata,
            spec=batch.JobSpecArgs(
                backoff_limit=_TRIES,
                active_deadline_seconds=_SECONDS,
                pod_failure_policy=batch.PodFailurePolicyArgs(
                    rules=[
                        batch.PodFailurePolicyRuleArgs(
                            action="FailJob",
                            on_exit_codes=batch.PodFailurePolicyOnExitCodesRequirementArgs(
                                container_name=_CONTAINER, operator="In", values=list(_FINAL)
                            ),
                        )
                    ]
                ),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(
                        labels=labels,
                        annotations={
                            **_SAYS,
                            **_irreversible(args.database),
                            **dataset_annotation(args.database),
                        },
                    ),
                    spec=core.PodSpecArgs(
                        restart_policy="Never",
                        automount_service_account_token=False,
                        enable_service_links=False,
                        security_context=identity(),
                        volumes=ca_volumes(args.database, args.config_map),
                        containers=[
                            core.ContainerArgs(
                                name=_CONTAINER,
                                image=args.image,
                                image_pull_policy="IfNotPresent",
                                command=["python3", "-m", "app.migrate"],
                                env_from=environment_from(args.config_map, args.secret),
                                env=own_environment(args.database),
                                resources=core.ResourceRequirementsArgs(
                                    requests=args.resources.requests(),
                                    limits=args.resources.limits(),
                                ),
                                volume_mounts=ca_mounts(args.database),
                                termination_message_policy="FallbackToLogsOnError",
                                security_context=confined(),
                            )
                        ],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[policy], delete_before_replace=True
            ),
        )
        self.register_outputs({})


def _irreversible(database: Database) -> dict[str, str]:
    number = database.schema.irreversible
    return {schema.IRREVERSIBLE: str(number)} if number else {}


def pods_of(service: str) -> str:
    """Return what the pods that migrate a service's database are called.

    Not by the service's own name: its Service would send requests there.

    Args:
        service: The service's name.
    """
    return f"{service}-migrate"


def egress_to(database: Database, pods: meta.LabelSelectorArgs) -> networking.NetworkPolicySpecArgs:
    """Describe what lets pods out to a database.

    To the pods of the stack's own; else to any host's port, for its host may be a name.

    Args:
        database: The database.
        pods: Which pods.
    """
    server = None
    if database.server is not None:
        own = meta.LabelSelectorArgs(match_labels=selector(database.server))
        server = [networking.NetworkPolicyPeerArgs(pod_selector=own)]
    return networking.NetworkPolicySpecArgs(
        pod_selector=pods,
        policy_types=["Egress"],
        egress=[
            networking.NetworkPolicyEgressRuleArgs(
                to=server,
                ports=[networking.NetworkPolicyPortArgs(protocol="TCP", port=database.port)],
            )
        ],
    )
