"""The pods of the stack's own PostgreSQL: the server's, and those of its backups and restores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta

from components.api_pod import confined
from components.database import PASSWORD_KEY, USUAL_PORT, Database
from components.labels import of_service
from components.sizing import PodResources

LOADER = "aegis_loader"
"""Who makes and drops databases of data sets: it may do what the service's role may, and that."""
BACKUP, RESTORE = "postgres_backup.sh", "postgres_restore.sh"

_SERVER = "postgres_server.sh"
_ACCOUNT = 999
"""The official image's; the superuser comes in by being it."""
_DATA, _BACKUPS = "/var/lib/postgresql/data", "/backups"
_CLUSTER = f"{_DATA}/pgdata"
"""Below the volume's top, which is the driver's: the server wants a directory of its own."""
_SOCKETS = "/var/run/postgresql"
_SECRET = "/etc/aegis/postgres"  # noqa: S105 - where it is mounted
_LOADER_FILE = "loader-password"
_STOP_SECONDS = 60
_START_SECONDS = 300
"""It may have much to recover; meanwhile nothing restarts it."""


@dataclass(frozen=True, kw_only=True)
class PostgresPodArgs:
    """What the pods are made from.

    Attributes:
        image: PostgreSQL's image, by digest.
        database: The database.
        resources: What a pod requests and may use.
        secret: The Secret with the password of the service's role.
        loader_secret: The Secret with the loader's.
        claim: The claim of the volume: the server's own, or that of the backups.
    """

    image: str | None
    database: Database
    resources: PodResources
    secret: pulumi.Input[str]
    loader_secret: pulumi.Input[str]
    claim: pulumi.Input[str]


def server_pod(name: str, args: PostgresPodArgs) -> core.PodTemplateSpecArgs:
    """Describe the server's pod."""
    variables = {
        "PGDATA": _CLUSTER,
        # Of no data set: those are made beside it, by the loader.
        "PGDATABASE": args.database.home,
        "PGUSER": args.database.user,
        "LOADER": LOADER,
        "MEMORY_MB": str(args.resources.memory_limit.mebibytes),
        "PASSWORD_FILE": f"{_SECRET}/{PASSWORD_KEY}",
        "LOADER_PASSWORD_FILE": f"{_SECRET}/{_LOADER_FILE}",
    }
    ready = core.ExecActionArgs(command=["pg_isready", "--quiet", f"--host={_SOCKETS}"])
    stop = ["pg_ctl", "stop", "--mode=fast", "--no-wait", f"--pgdata={_CLUSTER}"]
    return _template(
        name,
        args,
        core.ContainerArgs(
            name="postgres",
            image=args.image,
            image_pull_policy="IfNotPresent",
            command=_run(_SERVER),
            env=_environment(variables),
            resources=_resources(args),
            volume_mounts=[
                core.VolumeMountArgs(name="volume", mount_path=_DATA),
                core.VolumeMountArgs(name="sockets", mount_path=_SOCKETS),
                core.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - the pod's own
                core.VolumeMountArgs(name="secret", mount_path=_SECRET, read_only=True),
            ],
            startup_probe=core.ProbeArgs(
                exec_=ready, period_seconds=1, timeout_seconds=5, failure_threshold=_START_SECONDS
            ),
            readiness_probe=core.ProbeArgs(
                exec_=ready, period_seconds=5, timeout_seconds=5, failure_threshold=2
            ),
            # Whether it listens at all: one that is busy is not restarted.
            liveness_probe=core.ProbeArgs(
                tcp_socket=core.TCPSocketActionArgs(port=USUAL_PORT),
                period_seconds=10,
                timeout_seconds=5,
                failure_threshold=6,
            ),
            # By an image's own signal it might wait for its clients, and be killed.
            lifecycle=core.LifecycleArgs(
                pre_stop=core.LifecycleHandlerArgs(exec_=core.ExecActionArgs(command=stop))
            ),
            security_context=confined(),
        ),
        core.VolumeArgs(name="sockets", empty_dir=core.EmptyDirVolumeSourceArgs()),
        core.VolumeArgs(
            name="secret",
            projected=core.ProjectedVolumeSourceArgs(
                default_mode=0o440,
                sources=[
                    _password_file(args.secret, PASSWORD_KEY),
                    _password_file(args.loader_secret, _LOADER_FILE),
                ],
            ),
        ),
        grace=_STOP_SECONDS,
    )


def job_pod(
    name: str, script: str, variables: dict[str, str], args: PostgresPodArgs
) -> core.PodTemplateSpecArgs:
    """Describe a pod that works with the backups.

    Args:
        name: What the pods are called by the label that selects them.
        script: What it runs: :data:`BACKUP` or :data:`RESTORE`.
        variables: What that is told beside where the database and the backups are.
        args: What it is made from.
    """
    database = args.database
    given = {
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGDATABASE": database.name,
        "PGUSER": database.user,
        "PGSSLMODE": "disable",
        # A backup of one data set is none of another's.
        "BACKUPS": _BACKUPS if database.dataset is None else f"{_BACKUPS}/{database.name}",
        "VOLUME": _BACKUPS,
        **variables,
    }
    password = core.SecretKeySelectorArgs(name=args.secret, key=PASSWORD_KEY)
    return _template(
        name,
        args,
        core.ContainerArgs(
            name="backups",
            image=args.image,
            image_pull_policy="IfNotPresent",
            command=_run(script),
            env=[
                *_environment(given),
                core.EnvVarArgs(
                    name="PGPASSWORD",
                    value_from=core.EnvVarSourceArgs(secret_key_ref=password),
                ),
            ],
            resources=_resources(args),
            volume_mounts=[
                core.VolumeMountArgs(name="volume", mount_path=_BACKUPS),
                core.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - the pod's own
            ],
            termination_message_policy="FallbackToLogsOnError",
            security_context=confined(),
        ),
        restarts="Never",
    )


def _template(
    name: str,
    args: PostgresPodArgs,
    container: core.ContainerArgs,
    *volumes: core.VolumeArgs,
    grace: int | None = None,
    restarts: str | None = None,
) -> core.PodTemplateSpecArgs:
    claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=args.claim)
    return core.PodTemplateSpecArgs(
        metadata=meta.ObjectMetaArgs(labels=of_service(name)),
        spec=core.PodSpecArgs(
            automount_service_account_token=False,
            enable_service_links=False,
            restart_policy=restarts,
            termination_grace_period_seconds=grace,
            security_context=core.PodSecurityContextArgs(
                run_as_non_root=True,
                run_as_user=_ACCOUNT,
                run_as_group=_ACCOUNT,
                fs_group=_ACCOUNT,
                # Else each start would let the group into the server's own directory.
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
            ),
            containers=[container],
            volumes=[
                core.VolumeArgs(name="volume", persistent_volume_claim=claim),
                core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs()),
                *volumes,
            ],
        ),
    )


def _password_file(secret: pulumi.Input[str], path: str) -> core.VolumeProjectionArgs:
    item = core.KeyToPathArgs(key=PASSWORD_KEY, path=path)
    return core.VolumeProjectionArgs(secret=core.SecretProjectionArgs(name=secret, items=[item]))


def _run(script: str) -> list[str]:
    """Have a shell run a script of this directory's; what it says is part of the pod's template."""
    text = Path(__file__).with_name(script).read_text(encoding="utf-8")
    return ["sh", "-eu", "-c", text]


def _environment(variables: dict[str, str]) -> list[core.EnvVarArgs]:
    return [core.EnvVarArgs(name=key, value=value) for key, value in variables.items()]


def _resources(args: PostgresPodArgs) -> core.ResourceRequirementsArgs:
    return core.ResourceRequirementsArgs(
        requests=args.resources.requests(), limits=args.resources.limits()
    )
