"""The reader of source: it finds what a house rule must see, wherever it hides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sources

PYTHON = """\
import time
from typing import TYPE_CHECKING
from presencedb import low, __version__
from . import sibling
if TYPE_CHECKING:
    from presencedb.deep.high import Thing

def outer():
    def inner():
        from .low import name
    return inner
"""
CYTHON = """\
from presencedb.deep._low cimport Batch, Page
import time

cdef int count = 0

cdef inline int first(int a,
                      int b) noexcept nogil:
    return a

    # still inside

cdef class Table:
    def second(
        self,
    ):
        return 1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of that name with a Python and a Cython module to read, in place of the real one."""
    package = tmp_path / "presencedb"
    (package / "deep").mkdir(parents=True)
    for name in ("__init__.py", "low.py", "deep/__init__.py", "deep/high.py", "deep/sibling.py"):
        (package / name).touch()
    (package / "deep/code.py").write_text(PYTHON)
    (package / "deep/_kernel.pyx").write_text(CYTHON)
    (package / "deep/_kernel").mkdir()
    (package / "deep/_kernel/table.pyx").touch()
    (package / "vendor").mkdir()
    (package / "vendor/foreign.py").write_text("import asyncio\n")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.setattr(sources, "PACKAGE", package)
    caches = (sources.modules, sources.imports)
    for cached in caches:
        cached.cache_clear()
    yield package
    for cached in caches:
        cached.cache_clear()


def test_modules_are_named_in_full_and_vendored_ones_left_out(project: Path) -> None:
    assert set(sources.modules()) == {
        "presencedb",
        "presencedb.low",
        "presencedb.deep",
        "presencedb.deep.code",
        "presencedb.deep.high",
        "presencedb.deep.sibling",
        "presencedb.deep._kernel",
    }


def test_every_import_is_found(project: Path) -> None:
    found = {(one.importer.removeprefix("presencedb.deep."), one.module, one.name) for one in sources.imports()}
    assert found == {
        ("code", "time", ""),
        ("code", "typing", "TYPE_CHECKING"),
        ("code", "presencedb.low", ""),
        ("code", "presencedb", "__version__"),
        ("code", "presencedb.deep.sibling", ""),
        ("code", "presencedb.deep.high", "Thing"),
        ("code", "presencedb.deep.low", "name"),
        ("_kernel", "presencedb.deep._low", "Batch"),
        ("_kernel", "presencedb.deep._low", "Page"),
        ("_kernel", "time", ""),
    }


def test_functions_are_measured(project: Path) -> None:
    assert [one.line_count for one in sources.functions(project / "deep/code.py")] == [4, 2]
    assert [one.line_count for one in sources.functions(project / "deep/_kernel.pyx")] == [5, 4]
