"""Releases to deploy: the service as the program builds it, well or with one fault.

Each is an image made from the program's own one, without a network. All of them have one route
more, `/slow?seconds=`.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping

REFUSED_LOG_LEVEL = "debug"
"""With this level in its settings no release here starts: settings can be what is bad."""

PROGRAM = """
import asyncio, json, os, random, sys
fault = os.environ.get("FAULT", "")
print("reading settings, level", os.environ["AEGIS_LOG_LEVEL"], flush=True)
if os.environ["AEGIS_LOG_LEVEL"] == "debug":
    sys.exit("settings: there is no place for debug logs")
if fault == "crash":
    print("connecting to db:5432", flush=True)
    sys.exit("no such host: db")
if fault == "memory":
    everything = bytearray(b"x" * 1_000_000_000)
import app.server, app.service
from app import logs
from app.lifecycle import Lifecycle
from app.settings import load_settings
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def slow(request):
    await asyncio.sleep(min(5, float(request.query_params["seconds"])))
    return PlainTextResponse("slow and whole")
settings = load_settings(os.environ)
listener = app.server.listen(settings)
logs.configure(settings.log_level)
lifecycle = Lifecycle()
service = app.service.create_app(settings, lifecycle, extra_routes=[Route("/slow", slow)])
async def answer(scope, receive, send):
    path = scope.get("path")
    status = 503 if fault == "unready" and path == "/readyz" else None
    if fault in ("errors", "late") and path not in (None, "/livez", "/readyz"):
        if fault == "late":
            await asyncio.sleep(1.5)
        elif random.random() < 0.2:
            # Not each fifth: who asks in step with others would see all of them, or none.
            status = 500
    if status is None:
        return await service(scope, receive, send)
    body = json.dumps({"version": settings.version}).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
sys.exit(1 if app.server.run(answer, settings, lifecycle, listener).abandoned else 0)
"""


def push(environment: Mapping[str, str], base: str, tag: str, recipe: str = "") -> str:
    """Push an image under the service's name and return its digest.

    Args:
        environment: The lab's: its Docker daemon and registry.
        base: The image to start from.
        tag: What the tag to push it under begins with.
        recipe: What its Dockerfile has after `FROM`; without any the base itself is pushed.
    """
    import docker

    # Of its own: while this one is made, another test may push what has the same name.
    tag = f"{tag}-{secrets.token_hex(4)}"
    repository = f"{environment['AEGIS_REGISTRY']}/aegis"
    client = docker.DockerClient(base_url=environment["DOCKER_HOST"])
    try:
        if recipe:
            lines = io.BytesIO(f"FROM {base}\n{recipe}".encode())
            client.images.build(fileobj=lines, tag=f"{repository}:{tag}", rm=True)
        else:
            client.images.get(base).tag(repository, tag)
        for line in client.images.push(repository, tag, stream=True, decode=True):
            assert "error" not in line, line
        attributes = client.images.get(f"{repository}:{tag}").attrs
    finally:
        client.close()
    digests = [d for d in attributes["RepoDigests"] if d.startswith(f"{repository}@")]
    return str(digests[0].partition("@")[2])


def push_release(
    environment: Mapping[str, str], service: str, version: str, fault: str = ""
) -> str:
    """Push a release of the service and return its digest.

    Args:
        environment: The lab's.
        service: The digest of the service as the program built it.
        version: What the release says of itself.
        fault: ``crash``, ``memory``, ``unready``, ``errors`` (one answer of five), ``late``.
    """
    lines = [
        f"ENV AEGIS_VERSION={version} FAULT={fault or 'none'}",
        f"ENTRYPOINT {json.dumps(['python3', '-c', PROGRAM])}",
    ]
    base = f"{environment['AEGIS_REGISTRY']}/aegis@{service}"
    return push(environment, base, f"{version}-{fault or 'good'}", "\n".join(lines))
