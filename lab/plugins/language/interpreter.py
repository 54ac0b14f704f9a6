"""Which Python runs the program, and what is installed beside it.

Owns the ``runtime.options`` of a Pulumi.yaml (``virtualenv``, ``toolchain``) and the layout of a
virtual environment. Starts nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis_deploy.pulumi_cli import sdk_packages
from aegis_deploy.pulumi_cli.sdk_packages import SdkPlugin

EXECUTOR: Final = "pulumi-language-python-exec"
_PYTHONS: Final = ("python3", "python")
_CHECKOUT: Final = Path(__file__).resolve().parents[3]


class LanguageError(Exception):
    """The program cannot be run as things are; the message says why and what to type."""


@dataclass(frozen=True)
class Interpreter:
    """A Python executable and the virtual environment it belongs to, if any."""

    python: str
    virtualenv: Path | None = None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process that runs in this virtual environment.

        PYTHONPATH entries that only exist to find this stand-in are left out, so that a program
        does not see the checkout's packages by accident.
        """
        environment = dict(base)
        environment.pop("PYTHONHOME", None)
        paths = [
            path
            for path in environment.pop("PYTHONPATH", "").split(os.pathsep)
            if path and Path(path).resolve() != _CHECKOUT
        ]
        if paths:
            environment["PYTHONPATH"] = os.pathsep.join(paths)
        if self.virtualenv is not None:
            environment["VIRTUAL_ENV"] = str(self.virtualenv)
            search = [str(self.virtualenv / "bin"), environment.get("PATH", "")]
            environment["PATH"] = os.pathsep.join(part for part in search if part)
        return environment

    def required_plugins(self) -> list[SdkPlugin]:
        """Return the resource plugins named by the packages in the virtual environment."""
        if self.virtualenv is None:
            return []
        found = sdk_packages.required_plugins(self.virtualenv)
        return [it for it in found if not it.parameterized]


def virtualenv_path(root: str, options: Mapping[str, Any]) -> Path | None:
    """Return where the program's virtual environment is, or None when it uses the ambient Python.

    Args:
        root: The project's directory, where Pulumi.yaml is.
        options: ``runtime.options`` of Pulumi.yaml.

    Raises:
        LanguageError: The toolchain is one that this stand-in does not know.
    """
    toolchain = options.get("toolchain") or "pip"
    if toolchain != "pip":
        raise LanguageError(
            f"Pulumi.yaml asks for the toolchain {toolchain!r}, and the lab's stand-in for "
            "pulumi-language-python knows pip only.\n"
            "Set `runtime.options.toolchain: pip`, or install the official language host "
            "(it comes with the Pulumi CLI's release archive)."
        )
    virtualenv = options.get("virtualenv")
    return Path(root, str(virtualenv)) if virtualenv else None


def interpreter(root: str, options: Mapping[str, Any]) -> Interpreter:
    """Return the Python that runs the program in ``root``.

    Raises:
        LanguageError: The virtual environment does not exist, or there is no Python.
    """
    virtualenv = virtualenv_path(root, options)
    if virtualenv is None:
        return Interpreter(ambient_python())
    python = virtualenv / "bin" / "python"
    if not python.is_file():
        state = "has no bin/python" if virtualenv.exists() else "does not exist"
        raise LanguageError(
            f"the program's virtual environment {virtualenv} {state} "
            f"(`runtime.options.virtualenv: {options['virtualenv']}` in Pulumi.yaml).\n"
            "Create it with `pulumi install`, or with `make venv` in a checkout of Aegis."
        )
    return Interpreter(str(python), virtualenv)


def ambient_python() -> str:
    """Return the Python that PATH names, or the one that PULUMI_PYTHON_CMD asks for."""
    wanted = os.environ.get("PULUMI_PYTHON_CMD")
    for name in (wanted,) if wanted else _PYTHONS:
        found = shutil.which(name)
        if found:
            return found
    if wanted:
        raise LanguageError(f"PULUMI_PYTHON_CMD names {wanted!r}, which is not on PATH")
    return sys.executable


def executor() -> str:
    """Return the path of the SDK's program that runs a Pulumi program.

    Raises:
        LanguageError: It is neither named by AEGIS_LANGUAGE_EXEC nor on PATH.
    """
    named = os.environ.get("AEGIS_LANGUAGE_EXEC")
    if named and Path(named).is_file():
        return named
    found = shutil.which(EXECUTOR)
    if found:
        return found
    why = (
        f"AEGIS_LANGUAGE_EXEC names {named}, which does not exist"
        if named
        else "AEGIS_LANGUAGE_EXEC is not set and it is not on PATH"
    )
    raise LanguageError(
        f"{EXECUTOR} (part of the Pulumi SDK, it runs the program) was not found: {why}.\n"
        'Run `make up`, then `eval "$(make -s env)"` in this shell.'
    )
