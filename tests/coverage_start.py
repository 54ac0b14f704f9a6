"""Measures one process from its start to its end; Python runs this file as it starts.

Owns which processes are measured (`aegis`, and the program that a language host runs), which files
count, and what such a process leaves behind. It uses the tracer of `coverage` alone: the whole
package takes as long to import as `aegis` does, and would be in the process that is under test.
`coverage_of_subprocesses` puts it in place and gathers what it leaves.

It runs before anything else does and without the checkout on its path, so it imports nothing of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import FrameType, ModuleType
from typing import Any

VARIABLE = "AEGIS_COVERAGE"
"""Names the directory of what the processes leave; without it none is measured."""
PROGRAM = "pulumi-language-python-exec"
HOST = "language_host.py"
"""What `aegis` has run programs; each of them begins as a copy of it."""
COMMAND = ("aegis", "aegis_deploy.cli.main")
ENTRY = "__main__.py"
PARTS = ("aegis_deploy/", "components/", "app/", ENTRY)
SUFFIX = ".arcs"
_UNUSED = (
    "check_include",
    "concur_id_func",
    "disable_plugin",
    "should_start_context",
    "switch_context",
)
_BEGUN = "aegis_coverage_begun"


def begin(checkout: str, tracer: str, argv: Sequence[str]) -> None:
    """Measure this process, if it is one that counts.

    Args:
        checkout: The directory of the sources that are measured.
        tracer: The extension module of `coverage` that holds its tracer.
        argv: The interpreter and its arguments.
    """
    into, runs = os.environ.get(VARIABLE), started(argv)
    # An environment with a directory lib64 is gone through twice.
    if not into or not runs or hasattr(sys, _BEGUN):
        return
    setattr(sys, _BEGUN, True)
    places = [checkout]
    if runs in (PROGRAM, HOST):
        if not _same(f"{checkout}/{ENTRY}", os.path.abspath(ENTRY)):
            return  # Another program, one of a test's own.
        places.append(os.getcwd())
    Measured(Sources(places), _load(tracer)).begin(into)


def started(argv: Sequence[str]) -> str:
    """Return which of the measured programs a command line starts; empty for any other."""
    rest = iter(argv[1:])
    for word in rest:
        if word == "-c":
            return ""
        if word == "-m" or not word.startswith("-"):
            name = next(rest, "") if word == "-m" else os.path.basename(word)
            return name if name in (*COMMAND, PROGRAM, HOST) else ""
    return ""


class Sources:
    """Which files count, and under which names.

    Args:
        places: The checkout, and the copy of it that the process runs, if any.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self._checkout = places[0]
        self._places = places
        self._known: dict[str, str] = {}

    def name(self, path: str) -> str:
        """Return the checkout's name for a file; empty for one that does not count."""
        if path not in self._known:
            self._known[path] = self._find(os.path.abspath(path))
        return self._known[path]

    def _find(self, path: str) -> str:
        for place in self._places:
            below = path.removeprefix(f"{place}/")
            if below != path and below.startswith(PARTS):
                name = f"{self._checkout}/{below}"
                # What a test has changed in its copy has other lines.
                return name if path == name or _same(path, name) else ""
        return ""


class Measured:
    """This process, measured in all its threads.

    Args:
        sources: The files that count.
        library: The module with the tracer.
    """

    def __init__(self, sources: Sources, library: ModuleType) -> None:
        import threading

        self._sources, self._library = sources, library
        self._data: dict[str, set[int]] = {}
        self._seen: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()

    def begin(self, into: str) -> None:
        """Measure from here on; put what was seen into a directory at the end."""
        import atexit
        import threading

        atexit.register(self._end, into)
        self._quicken_imports()
        threading.settrace(self._begin_thread)
        self._trace()

    def _trace(self) -> Any:
        tracer = self._library.CTracer()
        tracer.data, tracer.trace_arcs = self._data, True
        tracer.lock_data, tracer.unlock_data = self._lock.acquire, self._lock.release
        tracer.should_trace, tracer.should_trace_cache = self._look, self._seen
        tracer.warn, tracer.file_tracers = print, {}
        # All of its attributes have to be set: it is written in C and takes them to be there.
        for name in _UNUSED:
            setattr(tracer, name, None)
        self._thread.tracer, self._thread.on = tracer, True
        return tracer.start()

    def _begin_thread(self, frame: FrameType, event: str, arg: Any) -> Any:
        sys.settrace(None)
        trace = self._trace()
        return trace(frame, event, arg) if trace else None

    def _look(self, path: str, _frame: FrameType) -> Any:
        found = self._library.CFileDisposition()
        name = self._sources.name(path)
        found.original_filename = found.canonical_filename = path
        found.source_filename = name or path
        found.trace, found.reason = bool(name), ""
        found.file_tracer, found.has_dynamic_filename = None, False
        return found

    def _quicken_imports(self) -> None:
        """Trace nothing while other people's modules are imported.

        The interpreter calls the tracer for each of their lines as well, which would double the
        time that the program needs for its provider's package.
        """
        from importlib.machinery import SourceFileLoader

        run: Callable[[SourceFileLoader, ModuleType], None] = SourceFileLoader.exec_module

        def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
            before: bool | None = getattr(self._thread, "on", None)
            wanted = bool(self._sources.name(loader.path))
            if before is None or before == wanted:
                run(loader, module)
                return
            self._switch(wanted)
            try:
                run(loader, module)
            finally:
                self._switch(before)

        SourceFileLoader.exec_module = exec_module  # type: ignore[assignment, method-assign]

    def _switch(self, on: bool) -> None:
        tracer = self._thread.tracer
        (tracer.start if on else tracer.stop)()
        self._thread.on = on

    def _end(self, into: str) -> None:
        import marshal
        import time

        self._thread.tracer.stop()
        # Other threads may still run: each of these copies is one step to them.
        seen = {name: list(arcs) for name, arcs in list(self._data.items())}
        target = f"{into}/{os.getpid()}-{time.monotonic_ns()}{SUFFIX}"
        try:
            with open(f"{target}.part", "wb") as partial:
                marshal.dump(seen, partial)
            os.replace(f"{target}.part", target)  # Who is killed here leaves nothing half.
        except FileNotFoundError:
            pass  # It outlives the tests; nobody counts any more.


def _load(tracer: str) -> ModuleType:
    """Load the tracer without the package around it."""
    from importlib.machinery import ExtensionFileLoader, ModuleSpec

    loader = ExtensionFileLoader("coverage.tracer", tracer)
    module = loader.create_module(ModuleSpec("coverage.tracer", loader, origin=tracer))
    loader.exec_module(module)
    return module


def _same(one: str, other: str) -> bool:
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False
