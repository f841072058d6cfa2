"""Who watches whom: an index from ids to watchers and back.

Two implementations keep the contract of `interface.py`: the compiled one, and the one in plain Python. `create_watch_index`
makes one of the kind that runs here; `IMPLEMENTATION` says which that is (see `presencedb.implementation`).
"""

from typing import Final, Protocol

from presencedb.implementation import COMPILED, PYTHON, compiled_module
from presencedb.watching import index_python
from presencedb.watching.interface import Rewind, WatchIndex

__all__ = ["IMPLEMENTATION", "WatchIndex", "create_watch_index", "rewind"]


class _Make(Protocol):
    def __call__(self, seed: int) -> WatchIndex: ...


_index = compiled_module("presencedb.watching._index")
_make: _Make = index_python.PythonWatchIndex if _index is None else _index.CompiledWatchIndex

IMPLEMENTATION: Final[str] = PYTHON if _index is None else COMPILED
"""`c` or `python`: which index `create_watch_index` makes."""

rewind: Rewind = index_python.rewind if _index is None else _index.rewind


def create_watch_index(seed: int) -> WatchIndex:
    """An empty index, whose ids nobody can crowd who does not know the seed.

    Raises:
        ValueError: the seed is not in 0..2^64-1.
    """
    return _make(seed)
