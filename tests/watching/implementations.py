"""The indexes there are to test, each with its way of rewinding. The compiled one is held to its own rules on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from presencedb.implementation import compiled_module
from presencedb.watching import WatchIndex, index_python
from presencedb.watching.interface import Rewind


class Implementation(NamedTuple):
    """How an index is made, how statuses are rewound, and what must hold of an index between two calls."""

    create: Callable[[int], WatchIndex]
    rewind: Rewind
    check: Callable[[WatchIndex], None]


_compiled = compiled_module("presencedb.watching._index")
IMPLEMENTATIONS: Final = {
    "python": Implementation(index_python.PythonWatchIndex, index_python.rewind, lambda index: None),
    **({} if _compiled is None else {"c": Implementation(_compiled.CompiledWatchIndex, _compiled.rewind, _compiled.check)}),
}
