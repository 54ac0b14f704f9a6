"""A project that sees nothing of the machine but the engine and the plugins it is given."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.coverage_start import VARIABLE
from tests.integration.accepting_provider import VERSIONS
from tests.rendering import ROOT


def write_program(path: Path, module: str, *arguments: str, **environment: str) -> None:
    """Write a program that runs one of the checkout's Python modules."""
    exports = "".join(f"export {name}='{value}'\n" for name, value in environment.items())
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", module, *arguments))
    path.write_text(f"#!/bin/sh\nexport PYTHONPATH='{ROOT}'\n{exports}exec {words} \"$@\"\n")
    path.chmod(0o755)


def place_provider(root: Path, module: str, name: str = "kubernetes") -> None:
    """Put a provider where the engine looks for the official one.

    Args:
        root: The test's directory; what the provider does is written into its ``journal``.
        module: What plays it.
        name: The provider's name.
    """
    plugin = root / "home" / "plugins" / f"resource-{name}-v{VERSIONS[name]}"
    plugin.mkdir(parents=True)
    write_program(plugin / f"pulumi-resource-{name}", module, name, str(root / "journal"))


def place_kubeconfig(home: Path) -> None:
    """Put a cluster's address into a home directory: `aegis` wants one, and asks it for nothing.

    Nobody is at that address. Where the lab is up, its own goes before it.
    """
    cluster = {"name": "nowhere", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}
    user = {"name": "nobody", "user": {}}
    (home / ".kube").mkdir()
    (home / ".kube" / "config").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "contexts": [context],
                "users": [user],
                "current-context": "nowhere",
            }
        )
    )


def environment_in(root: Path, programs: Path) -> dict[str, str]:
    """Return the whole environment of a test's CLI.

    Args:
        root: The test's directory: home, plugins and state are in it.
        programs: The directory of the CLI and its language host.
    """
    return {
        # The one thing from outside: where the processes put what they saw of the sources.
        **{name: os.environ[name] for name in (VARIABLE,) if name in os.environ},
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(root),
        "PULUMI_HOME": str(root / "home"),
        "PULUMI_BACKEND_URL": f"file://{root / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "of a test",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "GOGC": "400",  # Less tidying up of memory in a process that lives for a second.
    }
