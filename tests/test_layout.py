"""The house rules: how long things may be, who may import whom, who may look at a clock, what the client brings along."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from typing import Final

import pytest

import presencedb
from presencedb import errors
from presencedb.cli.catalog import CATALOG
from presencedb.protocol.commands import COMMANDS
from tests.support.process import clean_environment
from tests.support.sources import CODE_SUFFIXES, PACKAGE, ROOT, Import, files, functions, imports, modules, tree

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 70

LAYERS: Final = (
    {
        "errors",
        "limits",
        "states",
        "version",
        "clock",
        "implementation",
        "units",
        "config",
        "settings",
        "credentials",
        "logs",
    },
    {"ids"},
    {"transitions"},
    {"engine", "protocol", "placement", "watching"},
    {"transport", "membership"},
    {"client"},
    {"node"},
    {"router", "gateway"},
    {"cli"},
    {"__main__"},
)
"""From the ground up, by the first part of a module's name. A module imports its own part, and lower layers; those of the
ground import each other as well. Parts that stand side by side in one layer do not know each other."""
GROUND: Final = LAYERS[0]
FAR_SIDE: Final = ("client", "gateway")
"""Parts on the far side of the wire, whether or not the node is in the same process: they never reach it."""
NEAR_SIDE: Final = ("engine", "node")
PACKAGE_IMPORTS: Final = {"client", "errors", "ids", "version"}
"""What `presencedb/__init__.py` is made of."""

PURE: Final = (GROUND - {"clock"}) | {"ids", "transitions", "engine", "protocol", "placement", "watching"}
"""Parts that are handed the time and the bytes, so that they can be simulated, replayed and fuzzed."""
IMPURE_MODULES: Final = {"asyncio", "select", "selectors", "signal", "socket", "ssl", "threading", "time", "uvloop"}
CLOCK_READERS: Final = {
    f"{name}{suffix}" for name in ("time", "monotonic", "perf_counter", "process_time") for suffix in ("", "_ns")
}
ENTRY_POINTS: Final = {"presencedb", "presencedb.__main__"}
CLIENT_PACKAGES: Final = {"msgpack", "xxhash"}
BROUGHT_ALONG: Final = {"cryptography", "multidict", "yarl"}
"""What PyJWT[crypto] and aiohttp depend on, and have in their own interfaces."""
PRIVATE_TEXTS: Final = ("/home/", "/root/", "/Users/", "site-packages")
"""Paths of somebody's machine, which mean nothing on another."""


def layer_of(part: str) -> int:
    return next(index for index, parts in enumerate(LAYERS) if part in parts)


def part_of(module: str) -> str:
    """The first part of a module's name below the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def own_imports() -> list[Import]:
    """What modules of the package import from the package."""
    return [one for one in imports() if one.module.partition(".")[0] == "presencedb"]


def may_import(importer: str, imported: str) -> bool:
    """Whether one part may import another; a part is `node`, `errors`, or empty for the package itself."""
    if not importer:
        return imported in PACKAGE_IMPORTS
    if not imported:
        return False
    if importer == imported or {importer, imported} <= GROUND:
        return True
    return layer_of(imported) < layer_of(importer)


def test_files_are_short() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files(ROOT, *CODE_SUFFIXES)}
    long = [f"{path.relative_to(ROOT)}: {count} lines" for path, count in counts.items() if count > FILE_LINES_MAX]
    assert not long


def test_functions_are_short() -> None:
    found = [function for path in files(ROOT, ".py", ".pyx", ".pxd") for function in functions(path)]
    assert len(found) > 100, "the reader of functions found hardly any"
    assert not [str(function) for function in found if function.line_count > FUNCTION_LINES_MAX]


def test_every_part_has_a_layer() -> None:
    parts = {part_of(module) for module in modules()} - {""}
    assert not parts - set().union(*LAYERS), "give a new part its place in LAYERS"


def test_imports_point_down() -> None:
    upward = [str(one) for one in own_imports() if not may_import(part_of(one.importer), part_of(one.module))]
    assert not upward


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("engine", "ids", True),
        ("engine", "engine", True),
        ("engine", "protocol", False),
        ("placement", "engine", False),
        ("ids", "engine", False),
        ("settings", "config", True),
        ("errors", "ids", False),
        ("node", "engine", True),
        ("node", "gateway", False),
        ("transport", "membership", False),
        ("gateway", "client", True),
        ("gateway", "cli", False),
        ("__main__", "cli", True),
        ("node", "", False),
        ("", "client", True),
        ("", "node", False),
    ],
)
def test_the_rule_of_imports(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


def test_the_far_side_does_not_reach_the_near_side_by_any_way() -> None:
    imported: dict[str, set[str]] = {}
    for one in own_imports():
        imported.setdefault(one.importer, set()).add(one.module)
    reached = {module for module in modules() if part_of(module) in FAR_SIDE}
    waiting = list(reached)
    while waiting:
        new = imported.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    assert not {module for module in reached if part_of(module) in NEAR_SIDE}


def test_commands_do_not_import_each_other() -> None:
    commands = "presencedb.node.commands."
    assert not [str(one) for one in own_imports() if one.importer.startswith(commands) and one.module.startswith(commands)]


def test_pure_parts_do_no_io() -> None:
    assert not [
        str(one) for one in imports() if part_of(one.importer) in PURE and one.module.split(".")[0] in IMPURE_MODULES
    ]


def test_only_the_clock_module_reads_a_clock() -> None:
    """`loop.time()` is allowed where there is a loop: it counts timeouts of I/O, and is never stored or shown."""
    imported = {
        str(one)
        for one in imports()
        if one.module == "time" and part_of(one.importer) != "clock" and (not one.name or one.name in CLOCK_READERS)
    }
    called = {
        f"{path.relative_to(ROOT)}:{node.lineno} asks {ast.unparse(node)}"
        for path in files(PACKAGE, ".py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"now", "utcnow", "today"}
        and ast.unparse(node.value).split(".")[-1] in {"datetime", "date"}
    }
    assert not imported | called


def test_every_module_is_used() -> None:
    """Imported by another, started by a user, or found by its name: a command, or what a text in the code names in full."""
    used = {one.module for one in own_imports() if one.module != one.importer} | ENTRY_POINTS
    used |= {f"presencedb.node.commands.{name}" for name in COMMANDS} | {entry.module for entry in CATALOG.values()}
    used |= {
        node.value
        for path in files(PACKAGE, ".py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    packages = {module for module, path in modules().items() if path.name == "__init__.py"}
    used |= {package for package in packages if any(module.startswith(f"{package}.") for module in used)}
    assert not set(modules()) - used


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in files(ROOT / "tests", ".py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_every_exception_is_public() -> None:
    for module in modules():
        if not module.endswith("__main__"):
            importlib.import_module(module)
    found = [errors.Error]
    for one in found:
        found += one.__subclasses__()
    assert not [one for one in found if one.__module__ != "presencedb.errors" or one.__name__ not in presencedb.__all__]


def test_the_client_brings_only_what_it_needs() -> None:
    script = """
import sys
before = set(sys.modules)
import presencedb
presencedb.AsyncClient("presence://127.0.0.1:7411")
added = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*(name for name in added if getattr(sys.modules[name], "__file__", None)))
"""
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=clean_environment()
    ).stdout
    assert set(shown.split()) == {"presencedb"} | CLIENT_PACKAGES


def test_what_is_depended_on_is_used_and_the_other_way_round() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^\w-]", line, maxsplit=1)[0].lower().replace("-", "_") for line in declared}
    imported = {entry.module.partition(".")[0] for entry in imports() if entry.path.suffix == ".py"}
    foreign = imported - sys.stdlib_module_names - {"presencedb"}
    modules = {"jwt" if name == "pyjwt" else name for name in names}
    assert modules == foreign - BROUGHT_ALONG


def test_no_text_names_somebodys_machine() -> None:
    texts = [*files(PACKAGE, *CODE_SUFFIXES), *files(ROOT / "docs", ".md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    found = [
        f"{path.relative_to(ROOT)} has {private}"
        for path in texts
        for private in PRIVATE_TEXTS
        if private in path.read_text(encoding="utf-8")
    ]
    assert not found
