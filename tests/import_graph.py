"""What each file of the repository needs: read from its imports and its strings, nothing is run.

A module needs what it imports, also inside functions, but not what it imports for its types alone.
It also needs what it names in a string: a module that it starts (``-m lab.plugins.language``,
``"aegis_deploy.cli.main"``), a file or a directory that it reads or copies (``ROOT / ".github" /
"workflows"``, ``f"Pulumi.{stack}.yaml"``, ``Path(__file__).with_name("doomed")``).

A test needs the fixtures of the ``conftest.py`` files above it that it names, and what these need;
what a ``conftest.py`` does besides decides which tests run, not what they find.

The command line has all commands, and runs one. A test that runs it may need any; the program,
which starts itself, needs those that it names. What an end-to-end test types is declared.

Strings are guessed at, so a file may be taken to need more than it does. It is taken to need less
where a name is put together in a way that is not one of these.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

SOURCE_ROOTS = ("", "policy/")
"""Where modules are imported from; the policy pack runs in its own directory."""
_COMMAND_LINE, _COMMANDS = "aegis_deploy.cli.main", "aegis_deploy.cli.commands"
_STARTED = re.compile(r"-m ([A-Za-z_]\w*(?:\.\w+)*)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[\w*]+)+")
_PATHS = ("Path", "PurePath", "joinpath", "with_name", "glob", "rglob")
_HERE = re.compile(r"ROOT|CHECKOUT|HERE|__file__|\.checkout\b")
"""Where a path begins that leads into the repository, rather than into a test's directory."""
_FILE = re.compile(r"\w+\.\w+")


@dataclass
class _Named:
    """What some code names.

    Attributes:
        modules: Dotted names that it imports or starts.
        paths: Paths or patterns of files and directories, from the repository's root.
        beside: The same, from the directory of the code or from the root.
        copied: Rows of files and directories; of the repository's only when a test has them.
        words: Strings that may be a command's name.
        names: Arguments and what else may name a fixture.
        defined: Functions; a fixture among them hides one of a ``conftest.py``.
    """

    modules: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)
    copied: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)


class _Reader(ast.NodeVisitor):
    """Collects what a piece of code names.

    Args:
        package: The dotted name of the package it is in, for relative imports.
    """

    def __init__(self, package: str) -> None:
        self.found = _Named()
        self._package = package

    def visit_Import(self, node: ast.Import) -> None:
        self.found.modules.update(it.name for it in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self._package.split(".")
            above = parts[: len(parts) - node.level + 1]
            base = ".".join([*above, *([base] if base else [])])
        self.found.modules.add(base)
        self.found.modules.update(f"{base}.{it.name}" for it in node.names)

    def visit_If(self, node: ast.If) -> None:
        if _last(node.test) == "TYPE_CHECKING":
            self._visit_all(node.orelse)
        else:
            self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # Documentation names much and needs nothing.
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if all(it.arg != node.name for it in node.args.args):
            self.found.defined.add(node.name)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self.found.names.add(node.arg)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        # A key such as "app" is a label's, not the directory's name.
        self._visit_all(it for it in node.keys if it is not None and _text(it) is None)
        self._visit_all(node.values)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._visit_all(it for it in (node.value, node.slice) if _text(it) is None)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._read(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._read(_pattern(node) or "")
        self._visit_all(it for it in node.values if _text(it) is None)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._read_row(node.elts)

    def visit_List(self, node: ast.List) -> None:
        self._read_row(node.elts)

    def visit_Set(self, node: ast.Set) -> None:
        self._read_row(node.elts)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        parts: list[ast.expr] = []
        base: ast.expr = node
        while isinstance(base, ast.BinOp) and isinstance(base.op, ast.Div):
            parts.insert(0, base.right)
            base = base.left
        if not parts:
            self.generic_visit(node)
            return
        self._read_path(base, parts)
        self.visit(base)

    def visit_Call(self, node: ast.Call) -> None:
        called = _last(node.func)
        if called in ("usefixtures", "getfixturevalue"):
            self.found.names.update(text for it in node.args if (text := _text(it)))
        elif called in _PATHS and node.args:
            base = node.func.value if isinstance(node.func, ast.Attribute) else node.args[0]
            self._read_path(base, node.args)
            self._visit_all([node.func, *node.keywords])
        else:
            self.generic_visit(node)

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _read_row(self, items: list[ast.expr]) -> None:
        texts = [_text(it) for it in items]
        for text, following in zip(texts, [*texts, None][1:], strict=True):
            if text == "-m" and following:
                self.found.modules |= {following, f"{following}.__main__"}
        if any(text and _FILE.fullmatch(text) for text in texts):
            # Parts of the program to copy; words without a file among them are anything.
            self.found.copied.update(text for text in texts if text)
        self._visit_all(items)

    def _read_path(self, base: ast.expr, parts: list[ast.expr]) -> None:
        texts = [_pattern(it) for it in parts]
        known = texts[: texts.index(None)] if None in texts else texts
        path = "/".join(it for it in known if it)
        if _HERE.search(ast.unparse(base)):
            self.found.beside.add(path)
        elif base in parts:
            self.found.paths.add(path)
        self._visit_all(it for it in parts if _text(it) is None)

    def _read(self, text: str) -> None:
        for name in _STARTED.findall(text):
            self.found.modules |= {name, f"{name}.__main__"}
        if _DOTTED.fullmatch(text):
            self.found.modules |= {text, f"{text}.__main__"}
        if "/" in text and "*" not in text:
            self.found.paths.add(text)
        if text.isidentifier():
            self.found.words.add(text)


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _last(node: ast.expr) -> str:
    """Return the last name of a dotted one."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _pattern(node: ast.AST) -> str | None:
    """Return a string as it is written, with an asterisk for what is put in; None for others."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(it) or "*" for it in node.values)
    return _text(node)


class _Places:
    """Finds what names stand for among the repository's files.

    Args:
        files: Their paths.
    """

    def __init__(self, files: Collection[str]) -> None:
        self._files = frozenset(files)
        self._modules: dict[str, str] = {}
        for path in files:
            for root in SOURCE_ROOTS:
                if path.startswith(root) and path.endswith(".py"):
                    name = path.removeprefix(root).removesuffix(".py").replace("/", ".")
                    self._modules[name.removesuffix(".__init__")] = path
        self._directories: dict[str, set[str]] = {}
        for path in files:
            for parent in PurePosixPath(path).parents:
                self._directories.setdefault(str(parent), set()).add(path)

    def modules(self, name: str) -> Iterator[str]:
        """Yield the files of a module and of the packages around it."""
        if "*" in name:
            yield from (p for n, p in self._modules.items() if fnmatchcase(n, name))
            return
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            found = self._modules.get(".".join(parts[:end]))
            if found is not None:
                yield found

    def paths(self, name: str, directory: str = "") -> set[str]:
        """Return the file, or all files of the directory, or those that fit the pattern."""
        # What ends in a slash is what something begins with, mostly to be left out.
        named = bool(name.strip("./")) and not name.endswith("/")
        whole = str(PurePosixPath(directory, name)) if named else ""
        if whole in self._files:
            return {whole}
        if "*" in whole:
            if not re.search("[A-Za-z]", name):
                return set()
            pattern, depth = whole.replace("**/", "*"), whole.count("/")
            deep = "**/" in whole
            return {
                it
                for it in self._files
                if fnmatchcase(it, pattern) and (deep or it.count("/") == depth)
            }
        # "tests" names where tests are, and what is in it is told by what imports what.
        return self._directories.get(whole, set()) if whole not in ("", ".", "tests") else set()


def edges(texts: Mapping[str, str], subjects: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """Return what each file needs, one step far.

    Args:
        texts: Path -> text, of every file; that of one that is not Python may be empty.
        subjects: Path -> paths and directories that a file needs besides, by declaration.

    Returns:
        Path -> paths. A fixture of a ``conftest.py`` is there as ``path::name``.
    """
    places = _Places(texts)
    found: dict[str, set[str]] = {}
    fixtures: dict[str, dict[str, _Named]] = {}
    read: dict[str, _Named] = {}
    for path, text in texts.items():
        if not path.endswith(".py"):
            continue
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue  # Whoever needs it needs it still; pytest says what is wrong with it.
        if PurePosixPath(path).name == "conftest.py":
            fixtures[path] = _fixtures(path, tree)
        else:
            read[path] = _read(path, tree.body)
    for path, named in read.items():
        found[path] = _needed(path, named, places)
        if path.startswith("tests/"):
            asks = PurePosixPath(path).name.startswith("test_") or ".fixture" in texts[path]
            # What any other function calls its arguments has nothing to do with fixtures.
            found[path] |= {it for it in _above(path, named, fixtures) if asks or "::" not in it}
    for path, by_name in fixtures.items():
        for name, named in by_name.items():
            found[f"{path}::{name}"] = _needed(path, named, places) | {
                it for it in _above(path, named, fixtures) if "::" in it
            }
    for path, names in subjects.items():
        for name in names:
            found.setdefault(path, set()).update(places.paths(name.rstrip("/")))
    return found


def _read(path: str, nodes: Iterable[ast.AST]) -> _Named:
    reader = _Reader(".".join(PurePosixPath(path).parts[:-1]))
    for node in nodes:
        reader.visit(node)
    return reader.found


def _needed(path: str, named: _Named, places: _Places) -> set[str]:
    directory = str(PurePosixPath(path).parent)
    found = {it for name in _run(path, named) for it in places.modules(name)}
    copied = named.copied if path.startswith("tests/") else set()
    for name in named.paths | named.beside | copied:
        found |= places.paths(name)
    for name in named.beside:
        found |= places.paths(name, directory)
    return found - {path}


def _run(path: str, named: _Named) -> set[str]:
    """Return the modules that a file names, and the commands that it runs rather than lists."""
    if path == f"{_COMMAND_LINE.replace('.', '/')}.py":
        return named.modules - {f"{_COMMANDS}.*"}
    if _COMMAND_LINE not in named.modules:
        return named.modules
    words = ["*"] if path.startswith("tests/") else named.words
    return named.modules | {f"{_COMMANDS}.{word}" for word in words}


def _above(path: str, named: _Named, fixtures: Mapping[str, Mapping[str, _Named]]) -> set[str]:
    """Return the conftest.py files above a file, and those of their fixtures that it uses."""
    found = set()
    used = named.names - named.defined
    for conftest, by_name in fixtures.items():
        if PurePosixPath(path).is_relative_to(PurePosixPath(conftest).parent):
            found.add(conftest)
            found |= {f"{conftest}::{name}" for name in by_name if name in used}
            found |= {f"{conftest}::{name}" for name in by_name if name.startswith("*")}
    return found - {path}


def _fixtures(path: str, tree: ast.Module) -> dict[str, _Named]:
    """Return what each fixture of a conftest.py names, also through what it calls there.

    One that is used without being named has a ``*`` before its name.
    """
    defined: dict[str, list[ast.stmt]] = {}
    for node in (single for it in tree.body for single in _singly(it)):
        for name in _binds(node):
            defined.setdefault(name, []).append(node)
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        marks = [ast.unparse(it) for it in node.decorator_list]
        marks = [it for it in marks if re.search(r"\bfixture\b", it)]
        if marks:
            used = _closure(node, defined)
            always = any("autouse=True" in it for it in marks)
            found[f"*{node.name}" if always else node.name] = _read(path, used)
    return found


def _closure(start: ast.stmt, defined: Mapping[str, list[ast.stmt]]) -> list[ast.stmt]:
    used, waiting = [start], [start]
    while waiting:
        for it in ast.walk(waiting.pop()):
            for node in defined.get(it.id, []) if isinstance(it, ast.Name) else []:
                if node not in used:
                    used.append(node)
                    waiting.append(node)
    return used


def _singly(node: ast.stmt) -> list[ast.stmt]:
    """Return an import of several names as several imports: not all of them are used together."""
    if isinstance(node, ast.Import):
        return [ast.Import([it]) for it in node.names]
    if isinstance(node, ast.ImportFrom):
        return [ast.ImportFrom(node.module, [it], node.level) for it in node.names]
    return [node]


def _binds(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a module gives something to."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(it.asname or it.name).partition(".")[0] for it in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [it.id for target in targets for it in ast.walk(target) if isinstance(it, ast.Name)]
    return []
