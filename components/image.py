"""The service's image: built and pushed, or one that exists; by digest either way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

_REPOSITORY = "aegis"


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """What an image is made from.

    Attributes:
        registry: Where it is pushed to and pulled from.
        digest: The image that is there already; None means to build one.
        tag: What a built image is tagged with, beside its digest.
        platform: What a built image runs on.
        build_args: The Dockerfile's build arguments.
    """

    registry: str
    digest: str | None = None
    tag: str = ""
    platform: str = "linux/amd64"
    build_args: Mapping[str, str] = field(default_factory=dict)


class Image(pulumi.ComponentResource):
    """An image in a registry, known by its digest.

    Without a digest it is built from the checkout and pushed. It does not own the registry, nor
    the login to it: the Docker client's own is used.
    """

    reference: pulumi.Output[str]
    """What a pod pulls: ``registry/repository@sha256:...``."""
    digest: pulumi.Output[str]
    """The digest alone, to deploy the same image in the next stack."""

    def __init__(
        self, name: str, args: ImageArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("aegis:image:Image", name, None, opts)
        repository = f"{args.registry}/{_REPOSITORY}"
        if args.digest is not None:
            self.reference = pulumi.Output.from_input(f"{repository}@{args.digest}")
        else:
            self.reference = self._build(name, repository, args)
        self.digest = self.reference.apply(lambda reference: reference.rpartition("@")[2])
        self.register_outputs({"reference": self.reference, "digest": self.digest})

    def _build(self, name: str, repository: str, args: ImageArgs) -> pulumi.Output[str]:
        # A stack with a digest builds nothing; it need not wait for this import either.
        import pulumi_docker as docker

        image = docker.Image(
            name,
            image_name=f"{repository}:{args.tag}",
            build=docker.DockerBuildArgs(
                # Relative, so that the state is the same wherever the checkout is.
                context=".",
                dockerfile="Dockerfile",
                platform=args.platform,
                builder_version=docker.BuilderVersion.BUILDER_V1,
                args=args.build_args,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        reference: pulumi.Output[str] = image.repo_digest
        return reference
