"""The stack's settings: read once, checked as a whole, frozen.

Nothing but this and its reader (:mod:`setting_reader`) reads ``pulumi.Config``. Nothing is
registered before the settings are known to be right, and everything that is wrong with them is
said at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pulumi
from pulumi.runtime.config import CONFIG

from aegis_deploy.model.database.schema import CodeSchema
from aegis_deploy.model.gate_settings import GateSettings
from components import setting_keys as keys
from components.database import Database, own_database, read_authority
from components.external_route import ExternalRoute
from components.group_forms import IMAGE
from components.interruption import SAID_WHAT_IS_WRONG
from components.postgres_settings import IMAGE_VARIABLE, PostgresSettings
from components.route_settings import check_gate_of_route, route_of
from components.sampling_settings import Sampling, SamplingSettings
from components.setting_errors import (
    Problem,
    SettingsError,
    not_read,
    unknown_key,
    unknown_stack,
)
from components.setting_keys import DATA_PROFILES, ENVIRONMENTS, KEYS, PROJECT, PROVIDER_KEYS
from components.setting_reader import Reader
from components.sizing import (
    AUTOSCALE_CPU_PERCENT,
    Autoscale,
    PodResources,
    Size,
    size_of_stack,
    with_canary,
)
from components.source import SCHEMA_FILE, Source, SourceError, read_schema, read_source
from components.timings import Timings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a stack deploys, validated.

    Attributes:
        environment: The stack's name: development, staging or production.
        namespace: The Kubernetes namespace.
        size: How many pods, how large.
        timings: How long the steps of a rollout may take.
        data_profile: The data the service serves: mock, sample or real.
        mock_rows: How many made-up records it serves; None: as many as it has by itself.
        log_level: The service's log level.
        registry: Where images are pushed to and pulled from.
        digest: The image to deploy; None means it is built from ``source``.
        source: What the image is built from; None when ``digest`` names one.
        version: The release's version, for people.
        build_args: The Dockerfile's build arguments.
        platform: The platform the image is built for.
        route: How the service is reached from outside; None means not at all.
        client_namespaces: The namespaces whose pods may reach it; none means all.
        gate: What a release must show before it counts as good; None means no gate.
        api_token: The token clients must show; None means none is asked for.
        schema: Which databases the release's code works with; None where nobody says it.
        database: The database that the service reads and writes; None means none.
        postgres: The same as the stack's own server is to be, with its image; None means none.
        dataset: The data set that the service works on; None means what its database has.
        sampling: What takes masked samples of real data by a schedule; None means nothing.
        cluster_identifier: Which cluster the stack is in; another one means to move it.
        kube_context: The kubeconfig's context to use; None means its current one.
        kubeconfig: A kubeconfig or its path; None means the usual places.
    """

    environment: str
    namespace: str
    size: Size
    timings: Timings
    data_profile: str
    mock_rows: int | None
    log_level: str
    registry: str
    digest: str | None
    source: Source | None
    version: str
    build_args: Mapping[str, str]
    platform: str
    route: ExternalRoute | None
    client_namespaces: tuple[str, ...]
    gate: GateSettings | None
    api_token: str | None = field(repr=False)
    schema: CodeSchema | None
    database: Database | None = field(repr=False)
    postgres: PostgresSettings | None
    dataset: str | None
    sampling: Sampling | None
    cluster_identifier: str
    kube_context: str | None
    kubeconfig: str | None = field(repr=False)

    @property
    def tag(self) -> str:
        """What a built image is tagged with: its commit."""
        return "" if self.source is None else self.source.commit


def load_settings(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings of the current stack.

    Args:
        root: The checkout's top directory.
        environ: The process's environment.

    Raises:
        SettingsError: Something is wrong with them; the message says everything that is.
    """
    environment = pulumi.get_stack()
    if environment not in ENVIRONMENTS:
        raise SettingsError(environment, [unknown_stack(environment)])
    reader = Reader(environment, environ)
    reader.problems.extend(_unknown_keys(environment))
    size = _size(reader)
    gate = reader.optional(keys.GATE)
    timings = _timings(reader, gate)
    data_profile = _data_profile(reader)
    route = route_of(reader)
    check_gate_of_route(reader, gate, route)
    if gate is not None and gate.canary_share is not None:
        size = with_canary(size, gate.canary_share)
    client_namespaces = reader.optional(keys.CLIENT_NAMESPACES) or ()
    registry = reader.value(keys.REGISTRY)
    log_level = reader.value(keys.LOG_LEVEL)
    api_token = reader.optional(keys.API_TOKEN)
    digest, source, version = _release(reader, root)
    build_args = _build_args(reader, source)
    schema = _schema(reader, root, digest)
    postgres = _postgres(reader)
    dataset = _dataset(reader, data_profile, own=postgres is not None)
    database = _database(reader, root, schema, dataset, own=postgres is not None)
    sampling = _sampling(reader, root, data_profile)
    mock_rows = _mock_rows(reader, data_profile, served=database is None)
    # `aegis` reads it; what is wrong with it is told before anything runs.
    contract_after = reader.optional(keys.CONTRACT_AFTER)
    if contract_after is not None and database is None and not reader.problems:
        reader.refuse(
            keys.CONTRACT_AFTER,
            "set",
            "has no effect without aegis:database or aegis:postgres",
            fix=f"pulumi config rm --stack {environment} {keys.CONTRACT_AFTER.full_name}",
        )
    platform = reader.value(keys.PLATFORM)
    if reader.problems:
        raise SettingsError(environment, reader.problems)
    kubernetes = pulumi.Config("kubernetes")
    return Settings(
        environment=environment,
        namespace=f"{PROJECT}-{environment}",
        size=size,
        timings=timings,
        data_profile=data_profile,
        mock_rows=mock_rows,
        log_level=log_level,
        registry=registry,
        digest=digest,
        source=source,
        version=version,
        build_args=build_args,
        platform=platform,
        route=route,
        client_namespaces=client_namespaces,
        gate=gate,
        api_token=api_token,
        schema=schema,
        database=database,
        postgres=postgres,
        dataset=dataset,
        sampling=sampling,
        cluster_identifier=kubernetes.get("clusterIdentifier") or f"{PROJECT}-{environment}",
        kube_context=kubernetes.get("context"),
        kubeconfig=kubernetes.get("kubeconfig"),
    )


def settings_or_exit(root: Path) -> Settings:
    """Read and check the settings of the current stack; end the program when they are wrong.

    Left to propagate, the error would be followed by one more, about the program's exit code.

    Args:
        root: The checkout's top directory.
    """
    try:
        return load_settings(root)
    except SettingsError as error:
        pulumi.log.error(str(error))
        sys.exit(SAID_WHAT_IS_WRONG)


def _unknown_keys(environment: str) -> list[Problem]:
    # pulumi.Config answers for a key one knows; only the bag behind it lists the others.
    configured = sorted({*pulumi.runtime.get_config_env(), *CONFIG.get()})
    known = {key.full_name for key in KEYS}
    problems = []
    for name in configured:
        namespace = name.partition(":")[0]
        if namespace == PROJECT and name not in known:
            problems.append(unknown_key(name, known, environment))
        if namespace == "kubernetes" and name not in PROVIDER_KEYS:
            problems.append(not_read(name, PROVIDER_KEYS, environment))
    return problems


def _size(reader: Reader) -> Size:
    pod = PodResources(
        cpu_request=reader.value(keys.CPU_REQUEST),
        cpu_limit=reader.value(keys.CPU_LIMIT),
        memory_request=reader.value(keys.MEMORY_REQUEST),
        memory_limit=reader.value(keys.MEMORY_LIMIT),
    )
    if reader.right(keys.CPU_REQUEST, keys.CPU_LIMIT) and pod.cpu_request > pod.cpu_limit:
        reader.refuse(
            keys.CPU_LIMIT,
            pod.cpu_limit,
            "is below cpuRequest",
            allowed=f"{pod.cpu_request} or more",
            better=str(pod.cpu_request),
        )
    memory_is_right = reader.right(keys.MEMORY_REQUEST, keys.MEMORY_LIMIT)
    if memory_is_right and pod.memory_request > pod.memory_limit:
        reader.refuse(
            keys.MEMORY_LIMIT,
            pod.memory_limit,
            "is below memoryRequest",
            allowed=f"{pod.memory_request} or more",
            better=str(pod.memory_request),
        )
    replicas = reader.value(keys.PRODUCTION_REPLICAS)
    production = Size(replicas=replicas, pod=pod, autoscale=_autoscale(reader, replicas))
    return size_of_stack(production, reader.value(keys.SCALE))


def _autoscale(reader: Reader, replicas: int) -> Autoscale | None:
    maximum, percent = reader.optional(keys.AUTOSCALE), reader.optional(keys.AUTOSCALE_CPU)
    if not reader.right(keys.AUTOSCALE, keys.AUTOSCALE_CPU):
        return None
    if maximum is None:
        if percent is not None:
            reader.refuse(
                keys.AUTOSCALE_CPU,
                percent,
                "has no effect without aegis:autoscale",
                fix=f"pulumi config set --stack {reader.environment} aegis:autoscale "
                f"{max(replicas, int(keys.AUTOSCALE.example_for(reader.environment)))}",
            )
        return None
    if reader.right(keys.PRODUCTION_REPLICAS) and maximum < replicas:
        reader.refuse(
            keys.AUTOSCALE,
            maximum,
            "is below productionReplicas",
            allowed=f"{replicas} or more",
            better=str(replicas),
        )
    return Autoscale(maximum=maximum, cpu_percent=percent or AUTOSCALE_CPU_PERCENT)


def _timings(reader: Reader, gate: GateSettings | None) -> Timings:
    timings = Timings(
        pre_stop=reader.value(keys.PRE_STOP_SECONDS),
        drain=reader.value(keys.DRAIN_SECONDS),
        # A canary step is a rollout that stays a while at each new pod.
        min_ready=max(
            reader.value(keys.MIN_READY_SECONDS), 0 if gate is None else gate.canary_seconds
        ),
        progress_deadline=reader.value(keys.PROGRESS_DEADLINE_SECONDS),
    )
    are_right = reader.right(keys.MIN_READY_SECONDS, keys.PROGRESS_DEADLINE_SECONDS)
    if are_right and timings.progress_deadline <= timings.min_ready:
        reader.refuse(
            keys.PROGRESS_DEADLINE_SECONDS,
            timings.progress_deadline,
            "would call every rollout failed: a pod must be ready for minReadySeconds first",
            allowed=f"more than minReadySeconds (and gate.canary), which is {timings.min_ready}",
            better=str(timings.min_ready + 60),
        )
    return timings


def _data_profile(reader: Reader) -> str:
    profile = reader.value(keys.DATA_PROFILE)
    permitted = DATA_PROFILES[reader.environment]
    if profile not in permitted:
        reader.refuse(
            keys.DATA_PROFILE,
            profile,
            f"data does not belong in {reader.environment}",
            allowed=" or ".join(permitted),
        )
    return profile


def _mock_rows(reader: Reader, profile: str, *, served: bool) -> int | None:
    rows = reader.optional(keys.MOCK_ROWS)
    are_right = reader.right(keys.DATA_PROFILE, keys.DATABASE, keys.POSTGRES)
    if rows is not None and are_right and not (profile == "mock" and served):
        reader.refuse(
            keys.MOCK_ROWS,
            str(rows),
            "has no effect: a database's records are served"
            if profile == "mock"
            else f"has no effect beside aegis:dataProfile {profile}",
            fix=f"pulumi config rm --stack {reader.environment} {keys.MOCK_ROWS.full_name}",
        )
    return rows


def _release(reader: Reader, root: Path) -> tuple[str | None, Source | None, str]:
    digest = reader.optional(keys.IMAGE_DIGEST)
    version = reader.optional(keys.VERSION)
    if digest is not None:
        return digest, None, version or f"digest-{digest.removeprefix('sha256:')[:12]}"
    if not reader.right(keys.IMAGE_DIGEST):
        return None, None, ""
    if version is not None:
        reader.refuse(
            keys.VERSION,
            version,
            "names a release, but the image is built from the checkout, which has its own version",
            fix=f"pulumi config rm --stack {reader.environment} {keys.VERSION.full_name}",
        )
    try:
        source = read_source(root, reader.environ)
    except SourceError as error:
        reader.problems.append(
            Problem(subject=error.subject, value=error.found, why=error.why, fix=error.fix)
        )
        return None, None, ""
    return None, source, source.version


def _schema(reader: Reader, root: Path, digest: str | None) -> CodeSchema | None:
    given = reader.optional(keys.SCHEMA)
    if digest is not None or not reader.right(keys.SCHEMA, keys.IMAGE_DIGEST):
        return given
    if given is not None:
        reader.refuse(
            keys.SCHEMA,
            given,
            "is an image's, but the image is built from the checkout, which says its own",
            fix=f"pulumi config rm --stack {reader.environment} {keys.SCHEMA.full_name}",
        )
        return None
    try:
        return read_schema(root)
    except SourceError as error:
        reader.problems.append(
            Problem(subject=error.subject, value=error.found, why=error.why, fix=error.fix)
        )
        return None


def _postgres(reader: Reader) -> PostgresSettings | None:
    found = reader.optional(keys.POSTGRES)
    if found is None:
        return None
    name, stack = keys.POSTGRES.full_name, reader.environment
    away = f"pulumi config rm --stack {stack} {name}"
    if stack == "production":
        reader.refuse(
            keys.POSTGRES,
            "set",
            "is one pod on one volume, which is no database to keep production's data in",
            allowed="development and staging; production has aegis:database",
            fix=away,
        )
    elif reader.optional(keys.DATABASE) is not None:
        reader.refuse(
            keys.POSTGRES, "set", "would be a second database beside aegis:database", fix=away
        )
    elif found.image is None:
        try:
            return replace(found, image=IMAGE.parse(reader.environ.get(IMAGE_VARIABLE, "")))
        except ValueError:
            reader.refuse(
                keys.POSTGRES,
                "set",
                f"names no image, and {IMAGE_VARIABLE} names none by its digest",
                fix=f"pulumi config set --stack {stack} --path {name}.image "
                "<repository>@sha256:<digest>",
            )
    return found


def _dataset(reader: Reader, data_profile: str, *, own: bool) -> str | None:
    found = reader.optional(keys.DATASET)
    if found is None or not reader.right(keys.DATA_PROFILE, keys.POSTGRES):
        return found
    why = ""
    if data_profile != "sample":
        why = f"is a masked sample, and the stack serves {data_profile} data"
    elif not own:
        why = "is loaded to the stack's own server, and it has none: aegis:postgres is not set"
    if why:
        reader.refuse(
            keys.DATASET,
            found,
            why,
            allowed="a data set beside aegis:dataProfile sample and aegis:postgres",
            fix=f"pulumi config rm --stack {reader.environment} {keys.DATASET.full_name}",
        )
    return found


def _sampling(reader: Reader, root: Path, data_profile: str) -> Sampling | None:
    found = reader.optional(keys.SAMPLING)
    away = f"pulumi config rm --stack {reader.environment}"
    secrets = [(key, reader.optional(key)) for key in keys.SAMPLING_SECRETS]
    if found is None:
        for key, given in secrets:
            if given is not None and reader.right(keys.SAMPLING, key):
                why = f"has no effect without {keys.SAMPLING.full_name}"
                reader.refuse(key, "set", why, fix=f"{away} {key.full_name}")
        return None
    if reader.right(keys.DATA_PROFILE) and data_profile != "real":
        reader.refuse(
            keys.SAMPLING,
            "set",
            f"takes samples of real data, and the stack serves {data_profile} data",
            allowed="production, which others are given samples of",
            fix=f"{away} {keys.SAMPLING.full_name}",
        )
        return None
    for key, given in secrets:
        if given is None and reader.right(key):
            reader.refuse(key, "nothing", f"is needed beside {keys.SAMPLING.full_name}")
    try:
        rules = _rules(root, found)
    except ValueError as error:
        reader.refuse(keys.SAMPLING, "set", str(error))
        return None
    file = reader.optional(keys.DATABASE_CA)
    try:
        authority = None if file is None else read_authority(root / file)
    except ValueError:
        return None  # Told where the database is read.
    source, mask_key, credentials = (given or "" for _, given in secrets)
    return Sampling(
        settings=found,
        source=source,
        key=mask_key,
        credentials=credentials,
        authority=authority,
        rules=rules,
    )


def _rules(root: Path, found: SamplingSettings) -> str:
    try:
        return (root / found.rules).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise ValueError(f"names rules that cannot be read: {found.rules}: {why}") from None


def _database(
    reader: Reader,
    root: Path,
    schema: CodeSchema | None,
    dataset: str | None,
    *,
    own: bool,
) -> Database | None:
    address = reader.optional(keys.DATABASE)
    file = reader.optional(keys.DATABASE_CA)
    if not reader.right(keys.DATABASE, keys.DATABASE_CA, keys.SCHEMA):
        return None
    if address is None:
        if file is not None:
            reader.refuse(
                keys.DATABASE_CA,
                file,
                "has no effect without aegis:database",
                fix=f"pulumi config rm --stack {reader.environment} {keys.DATABASE_CA.full_name}",
            )
        if not own:
            return None
    try:
        authority = None if file is None else read_authority(root / file)
    except ValueError as error:
        reader.refuse(keys.DATABASE_CA, file, str(error))
        return None
    if schema is None:
        if reader.right(keys.IMAGE_DIGEST) and not reader.problems:
            why = f"is not said by the checkout, which has no {SCHEMA_FILE}"
            if reader.optional(keys.IMAGE_DIGEST) is not None:
                why = "is not said of the image that imageDigest names"
            reader.refuse(keys.SCHEMA, "nothing", why)
        return None
    if address is None:
        return own_database(schema, dataset)
    return Database(address=address, authority=authority, schema=schema)


def _build_args(reader: Reader, source: Source | None) -> dict[str, str]:
    base_image = reader.optional(keys.BASE_IMAGE)
    runtime_image = reader.optional(keys.RUNTIME_IMAGE)
    if source is None:
        return {}
    given = {"BASE_IMAGE": base_image, "RUNTIME_IMAGE": runtime_image}
    return {
        **{name: value for name, value in given.items() if value is not None},
        "VERSION": source.version,
        "GIT_SHA": source.commit,
    }
