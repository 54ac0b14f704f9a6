"""What takes a masked sample of production by a schedule, and puts it where others may read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes.batch.v1 as batch
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta
import pulumi_kubernetes.networking.v1 as networking

from components.api_pod import confined, identity
from components.database import CA_FILE, USUAL_PORT
from components.labels import SAMPLING, of_service, selector
from components.release_config import ReleaseConfig, ReleaseConfigArgs

if TYPE_CHECKING:
    from components.namespace import Namespace
    from components.sampling_settings import Sampling
    from components.settings import Settings

_SECONDS = 6 * 3600
"""How long all of it may take, tries included."""
_TRIES = 2
_LATE_SECONDS = 3600
_USAGE = 2
"""The exit code of `aegis data sample` after which another try would come to the same; what it
refuses may be there the next time, such as a server that was away."""
_CONFIG, _SECRETS, _TEMPORARY = "/etc/aegis/sampling", "/etc/aegis/sampling-secrets", "/tmp"  # noqa: S108 - the pod's own
_RULES = "rules.yaml"
_SOURCE, _KEY = "source", "key"
_OF_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
_RUN = "RUN"
"""The Job's name, which is another one at each time and the same one at each try."""


@dataclass(frozen=True, kw_only=True)
class DataSamplingArgs:
    """What a sampling is made from.

    Attributes:
        namespace: Where it runs.
        sampling: What it takes samples with.
        salt: What makes its Secret's name differ between stacks that share a secret.
    """

    namespace: pulumi.Input[str]
    sampling: Sampling
    salt: str


class DataSampling(pulumi.ComponentResource):
    """A CronJob that samples as a role that can only read, and writes to one bucket.

    Its pod has no token of the cluster's and reaches nothing but DNS, the database's port and the
    bucket's. It knows nothing of whoever loads the data sets, and does not own the bucket.
    """

    def __init__(
        self, name: str, args: DataSamplingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:sampling:DataSampling", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._name, self._args = name, args
        settings = args.sampling.settings
        config = ReleaseConfig(name, self._config(), child)
        account = core.ServiceAccount(
            name,
            metadata=self._metadata(),
            automount_service_account_token=False,
            opts=child,
        )
        networking.NetworkPolicy(name, metadata=self._metadata(), spec=self._egress(), opts=child)
        batch.CronJob(
            name,
            metadata=self._metadata(),
            spec=batch.CronJobSpecArgs(
                schedule=settings.at,
                time_zone="Etc/UTC",
                concurrency_policy="Forbid",
                starting_deadline_seconds=_LATE_SECONDS,
                successful_jobs_history_limit=1,
                failed_jobs_history_limit=1,
                job_template=batch.JobTemplateSpecArgs(
                    spec=batch.JobSpecArgs(
                        backoff_limit=_TRIES,
                        active_deadline_seconds=_SECONDS,
                        pod_failure_policy=_no_use_again(name),
                        template=self._pod(config, account.metadata.name),
                    )
                ),
            ),
            opts=child,
        )
        self.register_outputs({})

    def _metadata(self) -> meta.ObjectMetaArgs:
        return meta.ObjectMetaArgs(
            name=self._name, namespace=self._args.namespace, labels=of_service(self._name)
        )

    def _config(self) -> ReleaseConfigArgs:
        said = self._args.sampling
        account, _, key = said.credentials.partition(":")
        plain = {_RULES: said.rules}
        if said.authority is not None:
            plain[CA_FILE] = said.authority
        secret = {_SOURCE: self._source(), _KEY: said.key}
        secret |= dict(zip(_OF_AWS, (account, key), strict=True))
        return ReleaseConfigArgs(
            namespace=self._args.namespace, plain=plain, secret=secret, salt=self._args.salt
        )

    def _source(self) -> str:
        """The database's address, and that its certificate is held against an authority's."""
        said = self._args.sampling
        authority = _SYSTEM if said.authority is None else f"{_CONFIG}/{CA_FILE}"
        more = "&" if "?" in said.source else "?"
        return f"{said.source}{more}sslmode=verify-full&sslrootcert={authority}"

    def _egress(self) -> networking.NetworkPolicySpecArgs:
        """Out to the database and the bucket, by their ports: both may be names."""
        said = self._args.sampling
        ports = {urlsplit(said.source).port or USUAL_PORT, said.settings.store_port}
        return networking.NetworkPolicySpecArgs(
            pod_selector=meta.LabelSelectorArgs(match_labels=selector(self._name)),
            policy_types=["Egress"],
            egress=[
                networking.NetworkPolicyEgressRuleArgs(
                    ports=[
                        networking.NetworkPolicyPortArgs(protocol="TCP", port=port)
                        for port in sorted(ports)
                    ]
                )
            ],
        )

    def _pod(self, config: ReleaseConfig, account: pulumi.Input[str]) -> core.PodTemplateSpecArgs:
        secret = config.secret
        assert secret is not None, "there are secrets, so there is a Secret"  # noqa: S101
        resources = self._args.sampling.settings.resources
        items = [core.KeyToPathArgs(key=it, path=it) for it in (_SOURCE, _KEY)]
        return core.PodTemplateSpecArgs(
            metadata=meta.ObjectMetaArgs(labels=of_service(self._name)),
            spec=core.PodSpecArgs(
                service_account_name=account,
                automount_service_account_token=False,
                enable_service_links=False,
                restart_policy="Never",
                security_context=identity(),
                containers=[
                    core.ContainerArgs(
                        name=self._name,
                        image=self._args.sampling.settings.image,
                        image_pull_policy="IfNotPresent",
                        args=self._words(),
                        env=_environment(secret),
                        resources=core.ResourceRequirementsArgs(
                            requests=resources.requests(), limits=resources.limits()
                        ),
                        volume_mounts=[
                            core.VolumeMountArgs(name="config", mount_path=_CONFIG, read_only=True),
                            core.VolumeMountArgs(
                                name="secrets", mount_path=_SECRETS, read_only=True
                            ),
                            core.VolumeMountArgs(name="tmp", mount_path=_TEMPORARY),
                        ],
                        termination_message_policy="FallbackToLogsOnError",
                        security_context=confined(),
                    )
                ],
                volumes=[
                    core.VolumeArgs(
                        name="config",
                        config_map=core.ConfigMapVolumeSourceArgs(name=config.config_map),
                    ),
                    core.VolumeArgs(
                        name="secrets",
                        secret=core.SecretVolumeSourceArgs(secret_name=secret, items=items),
                    ),
                    # Places of rows, which tell nothing of them; no row is ever on a disk here.
                    core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs()),
                ],
            ),
        )

    def _words(self) -> list[str]:
        place = self._args.sampling.settings.place(f"$({_RUN})")
        return [
            *("data", "sample"),
            *("--from", f"file:{_SECRETS}/{_SOURCE}"),
            *("--key", f"file:{_SECRETS}/{_KEY}"),
            *("--rules", f"{_CONFIG}/{_RULES}"),
            *("--to", place),
            "--gzip",
        ]


def _environment(secret: pulumi.Input[str]) -> list[core.EnvVarArgs]:
    job = core.ObjectFieldSelectorArgs(field_path="metadata.labels['batch.kubernetes.io/job-name']")
    return [
        core.EnvVarArgs(name=_RUN, value_from=core.EnvVarSourceArgs(field_ref=job)),
        *(
            core.EnvVarArgs(
                name=it,
                value_from=core.EnvVarSourceArgs(
                    secret_key_ref=core.SecretKeySelectorArgs(name=secret, key=it)
                ),
            )
            for it in _OF_AWS
        ),
    ]


def _no_use_again(container: str) -> batch.PodFailurePolicyArgs:
    codes = batch.PodFailurePolicyOnExitCodesRequirementArgs(
        container_name=container, operator="In", values=[_USAGE]
    )
    rule = batch.PodFailurePolicyRuleArgs(action="FailJob", on_exit_codes=codes)
    return batch.PodFailurePolicyArgs(rules=[rule])


def sampling_of(
    settings: Settings, namespace: Namespace, cluster: pulumi.ProviderResource
) -> list[DataSampling]:
    """Make what takes samples, if the stack's settings have it.

    Args:
        settings: The stack's settings.
        namespace: The stack's namespace, which guards it.
        cluster: The provider of the cluster.
    """
    if settings.sampling is None:
        return []
    args = DataSamplingArgs(
        namespace=namespace.name, sampling=settings.sampling, salt=settings.namespace
    )
    opts = pulumi.ResourceOptions(providers=[cluster], depends_on=[namespace])
    return [DataSampling(SAMPLING, args, opts)]
