"""What a stack deploys, in order: settings, cluster, namespace, database, image, service."""

from pathlib import Path

import pulumi

from components.api_service import ApiService, ApiServiceArgs
from components.cluster import cluster_provider
from components.environment import release_environment
from components.gate import canary_gate_of, gate_of
from components.image import Image, ImageArgs
from components.interruption import end_when_told
from components.labels import SERVICE
from components.namespace import Namespace
from components.postgres import namespace_args, postgres_of
from components.release_config import ReleaseConfig
from components.settings import settings_or_exit

end_when_told()

settings = settings_or_exit(Path(__file__).resolve().parent)

cluster = cluster_provider(
    "cluster",
    identifier=settings.cluster_identifier,
    context=settings.kube_context,
    kubeconfig=settings.kubeconfig,
)
in_cluster = pulumi.ResourceOptions(providers=[cluster])

namespace = Namespace(settings.namespace, namespace_args(settings), in_cluster)
postgres = postgres_of(settings, namespace, cluster)

image = Image(
    SERVICE,
    ImageArgs(
        registry=settings.registry,
        digest=settings.digest,
        tag=settings.tag,
        platform=settings.platform,
        build_args=settings.build_args,
    ),
)

config = ReleaseConfig(SERVICE, release_environment(settings, namespace.name), in_cluster)

service = ApiService(
    SERVICE,
    ApiServiceArgs(
        namespace=namespace.name,
        image=image.reference,
        version=settings.version,
        size=settings.size,
        timings=settings.timings,
        config_map=config.config_map,
        secret=config.secret,
        route=settings.route,
        client_namespaces=settings.client_namespaces,
        gate=gate_of(settings),
        canary_gate=canary_gate_of(settings),
        guards=[namespace, *postgres],
        database=settings.database,
    ),
    in_cluster,
)

pulumi.export("namespace", namespace.name)
pulumi.export("imageDigest", image.digest)
pulumi.export("version", settings.version)
pulumi.export("replicas", settings.size.replicas)
pulumi.export("serviceUrl", service.url)
if settings.dataset is not None:
    pulumi.export("dataset", settings.dataset)
if settings.schema is not None:
    pulumi.export("schema", settings.schema.as_json())
