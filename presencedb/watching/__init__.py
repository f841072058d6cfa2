"""Who watches whom: an index from ids to watchers and back, and statuses brought back to an earlier moment.

Two implementations keep the contract of `interface.py`, one compiled and its twin in plain Python; `IMPLEMENTATION` says
which runs here (see `presencedb.implementation`).
"""

from typing import Final, Protocol

from presencedb.implementation import COMPILED, PYTHON, compiled_module
from presencedb.watching import index_python
from presencedb.watching.interface import Rewind, WatchIndex

__all__ = ["IMPLEMENTATION", "WatchIndex", "create_watch_index", "rewind"]


class _Make(Protocol):
    def __call__(self, seed: int) -> WatchIndex: ...


_compiled = compiled_module("presencedb.watching._index")
_make: _Make = index_python.PythonWatchIndex if _compiled is None else _compiled.CompiledWatchIndex

IMPLEMENTATION: Final[str] = PYTHON if _compiled is None else COMPILED
"""`c` or `python`: which index `create_watch_index` makes, and which `rewind` runs."""

rewind: Rewind = index_python.rewind if _compiled is None else _compiled.rewind
"""Brings statuses back to what they were before changes: `interface.Rewind`."""


def create_watch_index(seed: int) -> WatchIndex:
    """An empty index, whose ids nobody can crowd who does not know the seed.

    Raises:
        ValueError: the seed is not in 0..2^64-1.
    """
    return _make(seed)
