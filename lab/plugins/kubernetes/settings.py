"""The provider's configuration: what Configure receives, with the official defaults.

A setting comes from the provider's arguments or the stack's configuration (``kubernetes:...``),
else from its environment variable, else it has its default.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "kubernetes:config:"
_DEFAULT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a configured provider knows.

    Attributes:
        kubeconfig: A path or the contents; "" takes $KUBECONFIG or the home directory's.
        context: The kubeconfig's context; "" takes the current one.
        cluster: The kubeconfig's cluster; "" takes the context's.
        namespace: For objects that name none; "" takes the context's, else ``default``.
        server_side_apply: Update with apply patches instead of merge patches.
        patch_force: Take over fields that others manage.
        upsert: Create with an apply patch, which adopts objects that exist.
        configmap_mutable: Update a ConfigMap's data in place.
        secret_mutable: Update a Secret's data in place.
        delete_unreachable: Forget objects of a cluster that does not answer.
        skip_update_unreachable: Keep the state when the cluster does not answer.
        suppress_deprecation_warnings: Accepted; the stand-in has no such warnings.
        request_seconds: Longest wait for one answer.
    """

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    server_side_apply: bool = True
    patch_force: bool = False
    upsert: bool = False
    configmap_mutable: bool = False
    secret_mutable: bool = False
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    suppress_deprecation_warnings: bool = False
    request_seconds: float = _DEFAULT_SECONDS


def read_settings(
    variables: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Build settings from Configure's variables.

    Args:
        variables: ``kubernetes:config:<key>`` to text, as the engine sends them.
        environment: Where the fallbacks come from.

    Raises:
        ValueError: A setting asks for something only the official provider does, or is malformed;
            the message says which and what to do.
    """

    def text(key: str) -> str:
        return variables.get(_PREFIX + key, "")

    def flag(key: str, variable: str, default: bool = False) -> bool:
        if _PREFIX + key in variables:
            return variables[_PREFIX + key] == "true"
        return environment[variable] == "true" if variable in environment else default

    if text("renderYamlToDirectory"):
        raise ValueError(
            "kubernetes:renderYamlToDirectory is not supported by the lab's stand-in provider; "
            "unset it or install the official plugin"
        )
    return Settings(
        kubeconfig=text("kubeconfig"),
        context=text("context"),
        cluster=text("cluster"),
        namespace=text("namespace"),
        server_side_apply=flag(
            "enableServerSideApply", "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY", default=True
        ),
        patch_force=flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
        upsert=flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        configmap_mutable=flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
        secret_mutable=flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        delete_unreachable=flag("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        skip_update_unreachable=flag("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
        suppress_deprecation_warnings=flag(
            "suppressDeprecationWarnings", "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS"
        ),
        request_seconds=_request_seconds(text("kubeClientSettings"), environment),
    )


def _request_seconds(client_settings: str, environment: Mapping[str, str]) -> float:
    given = None
    if client_settings:
        try:
            given = json.loads(client_settings).get("timeout")
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"kubernetes:kubeClientSettings is not a JSON object: {error}"
            ) from None
    given = given or environment.get("PULUMI_K8S_CLIENT_TIMEOUT") or _DEFAULT_SECONDS
    try:
        return float(given)
    except (TypeError, ValueError):
        raise ValueError(f"the Kubernetes client timeout is not a number: {given!r}") from None
