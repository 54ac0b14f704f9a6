"""A release's configuration: an immutable ConfigMap and Secret that are named by their content.

Changed content is a new object with a new name. Pulumi makes it before it changes the Deployment
and deletes the old one after, so old pods can restart in the middle of a rollout and a rollback
finds the old one untouched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_kubernetes.core.v1 as core
import pulumi_kubernetes.meta.v1 as meta

from components.labels import of_service

_NAME_DIGITS = 10
_SCRYPT_COST = 2**14
_SCRYPT_BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class ReleaseConfigArgs:
    """What a release's configuration is made from.

    Attributes:
        namespace: Where it lives.
        plain: Environment variables anybody may read.
        secret: Environment variables nobody may; without any there is no Secret.
        salt: What makes the Secret's name differ between stacks that share a secret.
    """

    namespace: pulumi.Input[str]
    plain: Mapping[str, str]
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    salt: str


class ReleaseConfig(pulumi.ComponentResource):
    """The environment of one release of a service; it does not own who uses it."""

    config_map: pulumi.Output[str]
    """The ConfigMap's name."""
    secret: pulumi.Output[str] | None
    """The Secret's name, when there is one."""

    def __init__(
        self, name: str, args: ReleaseConfigArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:release:ReleaseConfig", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        config_map_name = f"{name}-config-{content_hash(args.plain)}"
        config_map = core.ConfigMap(
            config_map_name,
            metadata=meta.ObjectMetaArgs(
                name=config_map_name, namespace=args.namespace, labels=of_service(name)
            ),
            data=args.plain,
            immutable=True,
            opts=child,
        )
        self.config_map = config_map.metadata.name
        self.secret = None
        if args.secret:
            secret_name = f"{name}-secret-{secret_hash(args.secret, args.salt)}"
            secret = core.Secret(
                secret_name,
                metadata=meta.ObjectMetaArgs(
                    name=secret_name, namespace=args.namespace, labels=of_service(name)
                ),
                string_data=pulumi.Output.secret(dict(args.secret)),
                type="Opaque",
                immutable=True,
                opts=child,
            )
            self.secret = secret.metadata.name
        self.register_outputs({"configMap": self.config_map, "secret": self.secret})


def content_hash(content: Mapping[str, str]) -> str:
    """Name content anybody may read."""
    return hashlib.sha256(_canonical(content)).hexdigest()[:_NAME_DIGITS]


def secret_hash(content: Mapping[str, str], salt: str) -> str:
    """Name secret content by something from which nobody guesses it.

    The name is plain to see in the state and the cluster. A fast hash of a weak value could be
    tried against a dictionary; this one takes tens of milliseconds and 16 MiB a try.
    """
    digest = hashlib.scrypt(
        _canonical(content), salt=salt.encode(), n=_SCRYPT_COST, r=_SCRYPT_BLOCK, p=1
    )
    return digest.hex()[:_NAME_DIGITS]


def _canonical(content: Mapping[str, str]) -> bytes:
    return json.dumps(dict(content), sort_keys=True).encode()
