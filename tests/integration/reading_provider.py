# ruff: noqa: N802, ARG002 - the protocol says what its methods are called and given
"""The accepting provider, which also names objects, reads them back, and replaces the renamed.

As Docker's it notes in an image's inputs what is in the checkout: the file ``tree`` beside the
journal.

Run by the engine as ``python -m tests.integration.reading_provider NAME JOURNAL ADDRESS``.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

from lab.plugins.protocol import light_pulumi, serve
from tests.integration.accepting_provider import AcceptingProvider

with light_pulumi():
    from pulumi.runtime.proto import provider_pb2 as messages
    from pulumi.runtime.proto.provider_pb2_grpc import add_ResourceProviderServicer_to_server


class ReadingProvider(AcceptingProvider):
    """Accepts everything; see the module."""

    def Check(self, request: Any, context: Any) -> Any:
        """Accept a resource's inputs; name an object, look at the tree an image is built from."""
        metadata = (
            request.news.fields["metadata"].struct_value if "metadata" in request.news else None
        )
        if metadata is not None and "name" not in metadata:
            known = (
                request.olds.fields["metadata"].struct_value if "metadata" in request.olds else {}
            )
            chosen = f"{request.urn.rpartition('::')[2]}-{secrets.token_hex(4)}"
            metadata["name"] = dict(known).get("name", chosen)
        tree = self._journal.with_name("tree")
        if self._name == "docker" and tree.exists():
            request.news.fields["contextDigest"].string_value = tree.read_text()
        return super().Check(request, context)

    def Read(self, request: Any, context: Any) -> Any:
        """Say that what was made is there, as it was made, and that whatever is asked for is."""
        if not request.properties.fields:
            request.properties["metadata"] = {"name": request.id.rpartition("/")[2]}
        return messages.ReadResponse(
            id=request.id, properties=request.properties, inputs=request.inputs
        )

    def Diff(self, request: Any, context: Any) -> Any:
        """Replace what has another ``name``."""
        response = super().Diff(request, context)
        old, new = (inputs.fields["name"] for inputs in (request.old_inputs, request.news))
        if old != new:
            response.replaces.append("name")
        return response


if __name__ == "__main__":
    provider = ReadingProvider(sys.argv[1], Path(sys.argv[2]))
    serve(lambda server: add_ResourceProviderServicer_to_server(provider, server))
