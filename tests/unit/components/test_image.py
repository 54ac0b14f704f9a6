"""components.image: what is deployed is named by its digest."""

from __future__ import annotations

import re

from tests.rendering import BUILT_DIGEST, COMMIT, REGISTRY, Rendering, render

GIVEN_DIGEST = f"sha256:{'a' * 64}"


def deployed(rendering: Rendering) -> str:
    template = rendering.one("Deployment").manifest["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])


class TestDigestPinning:
    """A tag can be moved; a digest cannot."""

    def test_every_image_is_pinned(self, rendering: Rendering) -> None:
        assert re.fullmatch(r".+@sha256:[0-9a-f]{64}", deployed(rendering))

    def test_a_built_image_is_deployed_by_the_digest_it_was_pushed_with(
        self, rendering: Rendering
    ) -> None:
        assert deployed(rendering) == f"{REGISTRY}/aegis@{BUILT_DIGEST}"
        assert rendering.outputs["imageDigest"] == BUILT_DIGEST

    def test_a_given_digest_is_deployed_and_nothing_is_built(self, stack: str) -> None:
        rendering = render(stack, imageDigest=GIVEN_DIGEST)
        assert deployed(rendering) == f"{REGISTRY}/aegis@{GIVEN_DIGEST}"
        assert rendering.outputs["imageDigest"] == GIVEN_DIGEST
        assert not [item for item in rendering.resources if item.type.startswith("docker:")]

    def test_the_exported_digest_can_be_given_to_the_next_stack(self) -> None:
        first = render("staging")
        second = render("production", imageDigest=first.outputs["imageDigest"])
        assert deployed(second) == deployed(first)


class TestBuild:
    """An image says what it was built from."""

    def test_is_tagged_with_the_commit(self, rendering: Rendering) -> None:
        image = rendering.one("docker:index/image:Image").manifest
        assert image["imageName"] == f"{REGISTRY}/aegis:{COMMIT}"

    def test_takes_version_and_commit_as_arguments(self, rendering: Rendering) -> None:
        build = rendering.one("docker:index/image:Image").manifest["build"]
        assert build["args"] == {"VERSION": rendering.outputs["version"], "GIT_SHA": COMMIT}

    def test_takes_base_images_when_they_are_set(self) -> None:
        rendering = render("staging", baseImage="r:5000/python:3.11", runtimeImage="r:5000/run:1")
        arguments = rendering.one("docker:index/image:Image").manifest["build"]["args"]
        assert arguments["BASE_IMAGE"] == "r:5000/python:3.11"
        assert arguments["RUNTIME_IMAGE"] == "r:5000/run:1"

    def test_is_the_same_wherever_the_checkout_is(self, rendering: Rendering) -> None:
        build = rendering.one("docker:index/image:Image").manifest["build"]
        assert (build["context"], build["dockerfile"]) == (".", "Dockerfile")
        assert build["platform"] == "linux/amd64"
        assert build["builderVersion"] == "BuilderV1"


class TestVersion:
    """People see which release runs."""

    def test_is_the_checkouts_for_a_built_image(self, rendering: Rendering) -> None:
        labels = rendering.one("Deployment").manifest["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/version"] == rendering.outputs["version"]

    def test_is_the_stacks_for_a_given_one(self) -> None:
        rendering = render("staging", imageDigest=GIVEN_DIGEST, version="1.4.2")
        assert rendering.outputs["version"] == "1.4.2"

    def test_is_the_digests_start_for_a_given_one_without(self) -> None:
        rendering = render("staging", imageDigest=GIVEN_DIGEST)
        assert rendering.outputs["version"] == "digest-aaaaaaaaaaaa"
