"""The source of the project as data, for the tests that hold its house rules: files, modules, imports, functions.

Python is read with `ast`; Cython, which `ast` cannot read, by the shape of its lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "presencedb"
CODE_SUFFIXES: Final = (".py", ".pyx", ".pxd", ".pyi", ".h")
CYTHON_SUFFIXES: Final = (".pyx", ".pxd")
FOREIGN_FOLDERS: Final = frozenset({"vendor", "build", "dist", "__pycache__"})
_CYTHON_IMPORT: Final = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+([\w, ]+)|c?import\s+([\w.]+))", re.MULTILINE)
_CYTHON_FUNCTION: Final = re.compile(r"^(\s*)(?:async\s+)?c?p?def\s+[^=]*\(")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module; of a `from` import also the name, where that is not a module itself."""

    importer: str
    module: str
    name: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method and its length in lines, without decorators."""

    name: str
    path: Path
    line: int
    line_count: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} {self.name} has {self.line_count} lines"


def files(folder: Path, *suffixes: str) -> list[Path]:
    """The project's own files with these suffixes below a folder: nothing hidden, vendored or built."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in suffixes
        and not any(part.startswith(".") or part in FOREIGN_FOLDERS for part in path.relative_to(ROOT).parts)
    )


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its full name; a compiled one by its `.pyx`. A `.pyx` outside a package is a piece that
    another includes."""
    return {module_name(path): path for path in files(PACKAGE, ".py", ".pyx") if (path.parent / "__init__.py").exists()}


def module_name(path: Path) -> str:
    """`presencedb.ids.canonical` for its path, `presencedb.ids` for that of its `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports() -> list[Import]:
    """Every import in the package, at any depth: also within functions, and those for types only."""
    found: list[Import] = []
    for path in files(PACKAGE, ".py", *CYTHON_SUFFIXES):
        found += _cython_imports(path) if path.suffix in CYTHON_SUFFIXES else _python_imports(path)
    return found


def functions(path: Path) -> Iterator[Function]:
    """Every function of a file, nested ones too."""
    if path.suffix in CYTHON_SUFFIXES:
        yield from _cython_functions(path)
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(node.name, path, node.lineno, node.end_lineno - node.lineno + 1)


def _python_imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module_name(path), alias.name, "", path, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module_name(path).split(".")
                kept = len(parent) - node.level + (path.name == "__init__.py")
                base = ".".join([*parent[:kept], *base.split(".")]).rstrip(".")
            for alias in node.names:
                yield _from_import(path, node.lineno, base, alias.name)


def _cython_imports(path: Path) -> Iterator[Import]:
    text = path.read_text(encoding="utf-8")
    for match in _CYTHON_IMPORT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match[3]:
            yield Import(module_name(path), match[3], "", path, line)
        else:
            for name in match[2].split(","):
                yield _from_import(path, line, match[1], name.strip())


def _from_import(path: Path, line: int, base: str, name: str) -> Import:
    full = f"{base}.{name}"
    return Import(module_name(path), *((full, "") if full in modules() else (base, name)), path, line)


def _cython_functions(path: Path) -> Iterator[Function]:
    lines = path.read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        header = _CYTHON_FUNCTION.match(line)
        if header is None:
            continue
        last = index
        for later in range(index + 1, len(lines)):
            text = lines[later]
            deeper = len(text) - len(text.lstrip()) > len(header[1])
            if text.strip() and not deeper and not text.lstrip().startswith(")"):
                break
            if text.strip():
                last = later
        yield Function(line.strip(), path, index + 1, last - index + 1)
