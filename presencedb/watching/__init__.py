"""Who watches whom: an index from ids to watchers and back, which keeps the contract of `interface.py`."""

from presencedb.watching.index_python import PythonWatchIndex, rewind
from presencedb.watching.interface import WatchIndex

__all__ = ["WatchIndex", "create_watch_index", "rewind"]


def create_watch_index(seed: int) -> WatchIndex:
    """An empty index, whose ids nobody can crowd who does not know the seed.

    Raises:
        ValueError: the seed is not in 0..2^64-1.
    """
    return PythonWatchIndex(seed)
