"""A PostgreSQL in the stack's own namespace, with its volume, its backups and their restore."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes.apps.v1 as apps
import pulumi_kubernetes.batch.v1 as batch
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.networking.v1 as networking

from aegis_deploy.model.database import dataset as datasets
from components.database import PASSWORD_KEY, URL, USUAL_PORT, Database
from components.labels import CANARY, POSTGRES, SERVICE, of_service, selector
from components.migration import egress_to, pods_of
from components.namespace import Namespace
from components.postgres_pods import (
    BACKUP,
    LOADER,
    RESTORE,
    PostgresPodArgs,
    job_pod,
    server_pod,
)
from components.postgres_settings import PostgresSettings
from components.quantities import Memory

if TYPE_CHECKING:
    from components.settings import Settings

_PASSWORD_BYTES = 32
_JOB_SECONDS = 3600
_NEVER = "0 0 31 2 *"
_SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
_ONE_POD = {
    "policy.aegis/staging-is-half": "production's database is outside: there is nothing to halve"
}


@dataclass(frozen=True, kw_only=True)
class PostgresArgs:
    """What a PostgreSQL is made from.

    Attributes:
        namespace: Where it lives.
        settings: What it is like; its image is known.
        database: How the service reaches it.
        clients: The pods that may reach it beside its own, by the label that selects them.
    """

    namespace: pulumi.Input[str]
    settings: PostgresSettings
    database: Database
    clients: tuple[str, ...]


class Postgres(pulumi.ComponentResource):
    """One server on a volume of its own, backed up to another.

    Its volumes are protected and outlive the stack, unless its settings say otherwise. The service
    has a role that owns the databases and may do nothing else; another one, whose password no pod
    of the service has, makes those of data sets. The superuser has no password.

    It owns neither its namespace nor what is in the database.
    """

    def __init__(
        self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:postgres:Postgres", name, None, opts)
        self._name, self._jobs = name, f"{name}-backup"
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        self._network_policies()
        self._service()
        service, loader = self._service_secret(), self._loader_secret()
        self._secrets = service.metadata.name, loader.metadata.name
        if args.database.dataset is not None:
            self._dataset_secret(args.database, service)
        self._server(self._pod(self._claim(f"{name}-data", args.settings.storage)))
        pod = self._pod(self._claim(f"{name}-backups", args.settings.backup_storage))
        kept = {"KEEP": str(args.settings.keep_backups)}
        self._cron_job(f"{name}-backup", args.settings.backup_at, BACKUP, kept, pod)
        # Never runs by itself: by hand a Job is made from it.
        self._cron_job(f"{name}-restore", _NEVER, RESTORE, {"BACKUP": ""}, pod)
        self.register_outputs({})

    def _metadata(
        self, name: str | None = None, annotations: dict[str, str] | None = None
    ) -> meta.ObjectMetaArgs:
        return meta.ObjectMetaArgs(
            name=name or self._name,
            namespace=self._args.namespace,
            labels=of_service(self._name),
            annotations=annotations,
        )

    def _pod(self, claim: pulumi.Input[str]) -> PostgresPodArgs:
        secret, loader_secret = self._secrets
        return PostgresPodArgs(
            image=self._args.settings.image,
            database=self._args.database,
            resources=self._args.settings.resources,
            secret=secret,
            loader_secret=loader_secret,
            claim=claim,
        )

    def _service_secret(self) -> core.Secret:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        content = {PASSWORD_KEY: password, **self._args.database.own_secret(password)}
        return self._secret(self._name, content)

    def _dataset_secret(self, database: Database, service: core.Secret) -> None:
        """Make the address of a data set's database, by the password that the state has."""

        def encoded(data: Mapping[str, str]) -> dict[str, str]:
            password = base64.b64decode(data[PASSWORD_KEY]).decode()
            return {URL: base64.b64encode(database.address_with(password).encode()).decode()}

        core.Secret(
            str(database.secret),
            metadata=self._metadata(database.secret),
            data=pulumi.Output.secret(service.data.apply(encoded)),
            type="Opaque",
            opts=self._child,
        )

    def _loader_secret(self) -> core.Secret:
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        home = replace(self._args.database, dataset=None)
        address = home.address_with(password, LOADER)
        content = {PASSWORD_KEY: password, datasets.LOADER_URL: address}
        return self._secret(_loader_secret(self._name), content)

    def _secret(self, name: str, content: dict[str, str]) -> core.Secret:
        encoded = {key: base64.b64encode(it.encode()).decode() for key, it in content.items()}
        return core.Secret(
            name,
            metadata=self._metadata(name),
            # Not stringData, which the provider may keep under another name than is ignored.
            data=pulumi.Output.secret(encoded),
            type="Opaque",
            # Each run makes another password; the first one, which the state has, stays.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["data"]),
        )

    def _network_policies(self) -> None:
        may = [*self._args.clients, self._jobs]
        clients = [
            networking.NetworkPolicyPeerArgs(
                pod_selector=meta.LabelSelectorArgs(match_labels=selector(name))
            )
            for name in may
        ]
        port = networking.NetworkPolicyPortArgs(protocol="TCP", port=USUAL_PORT)
        networking.NetworkPolicy(
            self._name,
            metadata=self._metadata(),
            spec=networking.NetworkPolicySpecArgs(
                pod_selector=meta.LabelSelectorArgs(match_labels=selector(self._name)),
                policy_types=["Ingress"],
                ingress=[networking.NetworkPolicyIngressRuleArgs(from_=clients, ports=[port])],
            ),
            opts=self._child,
        )
        networking.NetworkPolicy(
            self._jobs,
            metadata=self._metadata(self._jobs),
            spec=egress_to(
                self._args.database, meta.LabelSelectorArgs(match_labels=selector(self._jobs))
            ),
            opts=self._child,
        )

    def _service(self) -> None:
        core.Service(
            self._name,
            # Its pod is waited for with the StatefulSet.
            metadata=self._metadata(annotations=_SKIP_AWAIT),
            spec=core.ServiceSpecArgs(
                type="ClusterIP",
                selector=selector(self._name),
                ports=[
                    core.ServicePortArgs(port=USUAL_PORT, target_port=USUAL_PORT, protocol="TCP")
                ],
            ),
            opts=self._child,
        )

    def _claim(self, name: str, size: Memory) -> pulumi.Output[str]:
        settings = self._args.settings
        claim = core.PersistentVolumeClaim(
            name,
            # Many a class binds it only when a pod wants it.
            metadata=self._metadata(name, _SKIP_AWAIT),
            spec=core.PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                storage_class_name=settings.storage_class,
                resources=core.VolumeResourceRequirementsArgs(requests={"storage": str(size)}),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, protect=settings.keep_data, retain_on_delete=settings.keep_data
            ),
        )
        found: pulumi.Output[str] = claim.metadata.name
        return found

    def _server(self, pod: PostgresPodArgs) -> None:
        apps.StatefulSet(
            self._name,
            metadata=self._metadata(
                annotations={**_ONE_POD, datasets.LOADER: _loader_secret(self._name)}
            ),
            spec=apps.StatefulSetSpecArgs(
                replicas=1,
                service_name=self._name,
                selector=meta.LabelSelectorArgs(match_labels=selector(self._name)),
                template=server_pod(self._name, pod),
            ),
            opts=self._child,
        )

    def _cron_job(
        self,
        name: str,
        schedule: str,
        script: str,
        variables: dict[str, str],
        pod: PostgresPodArgs,
    ) -> None:
        batch.CronJob(
            name,
            metadata=self._metadata(name),
            spec=batch.CronJobSpecArgs(
                schedule=schedule,
                time_zone="Etc/UTC",
                suspend=schedule == _NEVER,
                concurrency_policy="Forbid",
                starting_deadline_seconds=_JOB_SECONDS,
                successful_jobs_history_limit=1,
                failed_jobs_history_limit=1,
                job_template=batch.JobTemplateSpecArgs(
                    spec=batch.JobSpecArgs(
                        backoff_limit=0 if script == RESTORE else 2,
                        active_deadline_seconds=_JOB_SECONDS,
                        template=job_pod(self._jobs, script, variables, pod),
                    )
                ),
            ),
            opts=self._child,
        )


def _loader_secret(server: str) -> str:
    return f"{server}-loader"


def postgres_of(
    settings: Settings, namespace: Namespace, cluster: pulumi.ProviderResource
) -> list[Postgres]:
    """Make the stack's own PostgreSQL, if its settings have one.

    Args:
        settings: The stack's settings.
        namespace: The stack's namespace, which guards it.
        cluster: The provider of the cluster.
    """
    if settings.postgres is None or settings.database is None:
        return []
    args = PostgresArgs(
        namespace=namespace.name,
        settings=settings.postgres,
        database=settings.database,
        clients=(SERVICE, *([CANARY] if settings.size.canaries else []), pods_of(SERVICE)),
    )
    opts = pulumi.ResourceOptions(providers=[cluster], depends_on=[namespace])
    return [Postgres(POSTGRES, args, opts)]
