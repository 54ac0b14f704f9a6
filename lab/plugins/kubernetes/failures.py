"""How failures reach the engine: which gRPC status, which words, which details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from lab.plugins.kubernetes.awaiting import WaitError
from lab.plugins.kubernetes.client import ApiError, UnreachableError
from lab.plugins.kubernetes.discovery import UnknownKindError
from lab.plugins.kubernetes.objects import Json
from lab.plugins.kubernetes.secrets import redact
from lab.plugins.properties import encode
from lab.plugins.protocol import RpcError, light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import provider_pb2

CLUSTER_ERRORS = (ApiError, UnknownKindError, UnreachableError)


def refused(action: str, error: Exception, obj: Json) -> RpcError:
    """Return the error of an operation that changed nothing.

    Args:
        action: What was tried, such as "create ConfigMap team/app".
        error: Why it failed.
        obj: The object, whose secret values the message must not show.
    """
    return RpcError(_code(error), redact(f"cannot {action}: {error}", obj))


def partly_done(
    identifier: str,
    message: str,
    error: Exception,
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
) -> RpcError:
    """Return the error of an operation that took place but did not come to its end.

    The engine then keeps the outputs, with the reasons as the resource's init errors.

    Args:
        identifier: The resource's id.
        message: What happened, followed by the error.
        error: Why.
        outputs: The resource's outputs as far as they are known.
        inputs: The inputs to keep, for a refresh.
    """
    whole = redact(f"{message}: {error}", outputs)
    more = error.reasons if isinstance(error, WaitError) else []
    detail = provider_pb2.ErrorResourceInitFailed(
        id=identifier,
        properties=encode(outputs),
        reasons=[whole, *(redact(reason, outputs) for reason in more)],
        inputs=encode(inputs) if inputs is not None else None,
    )
    return RpcError(grpc.StatusCode.UNKNOWN, whole, detail)


def _code(error: Exception) -> grpc.StatusCode:
    if isinstance(error, UnreachableError):
        return grpc.StatusCode.UNAVAILABLE
    if isinstance(error, ApiError):
        if error.already_exists:
            return grpc.StatusCode.ALREADY_EXISTS
        if error.forbidden:
            return grpc.StatusCode.PERMISSION_DENIED
        if error.not_found:
            return grpc.StatusCode.NOT_FOUND
        if error.invalid:
            return grpc.StatusCode.INVALID_ARGUMENT
    return grpc.StatusCode.UNKNOWN
