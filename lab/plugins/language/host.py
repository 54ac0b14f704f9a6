"""The LanguageRuntime service: what the engine asks of a language host.

Runs programs and policy packs, tells which plugins they need, installs their requirements. Code
generation is left to the official host and answered UNIMPLEMENTED.
"""
# ruff: noqa: N802, ARG001, ARG002 - the protocol names the methods and their arguments

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import grpc

from aegis_deploy.stack.language_host import arguments, outcome
from lab.plugins.children import Child, Children
from lab.plugins.language import run_plugin
from lab.plugins.language.install import InstallFailed, install
from lab.plugins.language.interpreter import (
    Interpreter,
    LanguageError,
    executor,
    interpreter,
)
from lab.plugins.properties import decode
from lab.plugins.protocol import Engine, RpcError, answers, light_pulumi

with light_pulumi():
    from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

if TYPE_CHECKING:
    from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped,unused-ignore]

OFFICIAL: Final = "pulumi-language-python"
VERSION: Final = "3.259.0"
ANALYZER: Final = "analyzer"
"""The kind of plugin that a policy pack is, as the engine calls it."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs Python programs in the virtual environment that their Pulumi.yaml names."""

    def __init__(self, engine: Engine, engine_address: str) -> None:
        self._engine = engine
        self._engine_address = engine_address
        # As the official host tells programs to end.
        self._children = Children(signal.SIGINT)

    def stop(self) -> None:
        """End everything this host has started."""
        self._children.stop()

    @answers
    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Learn the engine's address when the engine gives it here."""
        if request.engine_address and not self._engine_address:
            self._engine_address = request.engine_address
            self._engine = Engine(request.engine_address)
        return language_pb2.LanguageHandshakeResponse()

    @answers
    def GetPluginInfo(self, request: Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Return the version of the official host this one stands in for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    @answers
    def GetRequiredPackages(
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """Return the plugins that the installed packages name."""
        return language_pb2.GetRequiredPackagesResponse(
            packages=[
                plugin_pb2.PackageDependency(
                    name=plugin.name,
                    kind="resource",
                    version=plugin.version,
                    server=plugin.server,
                )
                for plugin in _installed(request.info).required_plugins()
            ]
        )

    @answers
    def GetRequiredPlugins(
        self, request: language_pb2.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        """Return the plugins that the installed packages name, for older engines."""
        return language_pb2.GetRequiredPluginsResponse(
            plugins=[
                plugin_pb2.PluginDependency(
                    name=plugin.name,
                    kind="resource",
                    version=plugin.version,
                    server=plugin.server,
                )
                for plugin in _installed(request.info).required_plugins()
            ]
        )

    @answers
    def Run(
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run a program to its end; its output passes through to the user."""
        self._engine.say_stand_in("Python language host", OFFICIAL)
        try:
            python = interpreter(request.info.root_directory, _options(request.info))
            words = [*arguments(request, self._engine_address), *request.args]
            command = [python.python, "-u", executor(), *words]
        except LanguageError as error:
            self._engine.error(str(error))
            return language_pb2.RunResponse(bail=True)
        child = self._children.start(
            command, environment=_environment(python, request), directory=request.pwd
        )
        if not context.add_callback(child.stop):
            child.stop()
        try:
            code = child.wait()
        finally:
            self._children.forget(child)
        return outcome(language_pb2.RunResponse, code, stopped=child.stopped)

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a plugin written in Python until the engine has no more use for it."""
        try:
            command, python = run_plugin.command(
                request.info.program_directory, _options(request.info), request.args
            )
        except LanguageError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

        def end_with_the_call(child: Child) -> None:
            if not context.add_callback(child.stop):
                child.stop()

        given = dict(pair.split("=", 1) for pair in request.env if "=" in pair)
        yield from run_plugin.run(
            self._children,
            command,
            environment=python.environment({**os.environ, **given}),
            # As the official host has it: a policy pack runs in its own directory.
            directory=request.info.program_directory if request.kind == ANALYZER else request.pwd,
            started=end_with_the_call,
        )

    @answers
    def Cancel(self, request: Empty, context: grpc.ServicerContext) -> Empty:
        """Stop the running program."""
        self._children.stop()
        return request

    def InstallDependencies(
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Create the virtual environment, install requirements.txt, stream what pip says."""
        info = request.info
        try:
            for chunk in install(
                self._children,
                root=info.root_directory or request.directory,
                program_directory=info.program_directory or request.directory,
                options=_options(info),
            ):
                yield language_pb2.InstallDependenciesResponse(stdout=chunk)
        except (InstallFailed, LanguageError) as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    @answers
    def RuntimeOptionsPrompts(
        self, request: language_pb2.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        """Ask for nothing: pip is the only toolchain here."""
        return language_pb2.RuntimeOptionsResponse()

    @answers
    def About(
        self, request: language_pb2.AboutRequest, context: grpc.ServicerContext
    ) -> language_pb2.AboutResponse:
        """Say which Python runs the program."""
        python = _found(request.info)
        report = "import platform, sys; print(sys.executable, platform.python_version(), sep='\\n')"
        lines = self._ask(python, request.info.root_directory, "-c", report).splitlines()
        return language_pb2.AboutResponse(
            executable=lines[0],
            version=lines[1],
            metadata={"toolchain": "Pip", "languageHost": "stand-in of the Aegis lab"},
        )

    @answers
    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """List the packages installed for the program."""
        arguments = ["-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
        if not request.transitiveDependencies:
            arguments.append("--not-required")
        answer = self._ask(_found(request.info), request.info.root_directory, *arguments)
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=item["name"], version=item["version"])
                for item in json.loads(answer)
            ]
        )

    def _ask(self, python: Interpreter, directory: str, *arguments: str) -> str:
        """Run the program's Python for an answer on stdout."""
        import subprocess

        child = self._children.start(
            [python.python, *arguments],
            environment=python.environment(os.environ),
            directory=directory or ".",
            output=subprocess.PIPE,
        )
        try:
            out, _ = child.process.communicate()
        finally:
            self._children.forget(child)
        text = out.decode(errors="replace")
        if child.process.returncode:
            raise RpcError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"`{python.python} {' '.join(arguments)}` failed: {text.strip()}",
            )
        return text


def _left_to_official(name: str) -> Any:  # noqa: ANN401 - a servicer's method
    def refuse(self: LanguageHost, request: object, context: grpc.ServicerContext) -> None:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the lab's stand-in for {OFFICIAL} has no {name}: it runs programs and policy packs "
            "and installs their requirements. Install the official language host for the rest",
        )

    return refuse


for _name in (
    "GeneratePackage",
    "GenerateProgram",
    "GenerateProject",
    "Link",
    "Pack",
    "Template",
):
    setattr(LanguageHost, _name, _left_to_official(_name))


def _options(info: language_pb2.ProgramInfo) -> dict[str, Any]:
    return decode(info.options)


def _found(info: language_pb2.ProgramInfo) -> Interpreter:
    try:
        return interpreter(info.root_directory, _options(info))
    except LanguageError as error:
        raise RpcError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from error


def _installed(info: language_pb2.ProgramInfo) -> Interpreter:
    """Return the program's Python, or one without packages: Run tells what is missing."""
    try:
        return interpreter(info.root_directory, _options(info))
    except LanguageError:
        return Interpreter("")


def _environment(python: Interpreter, request: language_pb2.RunRequest) -> dict[str, str]:
    environment = python.environment(os.environ)
    environment["PULUMI_CONFIG"] = json.dumps(dict(request.config))
    environment["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
    return environment
