"""The store. Two engines keep the contract of `interface.py`: the compiled kernel, and the reference in plain Python.

`create_engine` makes one of the kind that runs here; `IMPLEMENTATION` says which that is (see `presencedb.implementation`).
"""

from typing import Final, Protocol

from presencedb.engine.copies import Copies, Copy
from presencedb.engine.interface import (
    RETENTION_ONLINE,
    Engine,
    EngineConfig,
    EngineStats,
    TickWentBack,
)
from presencedb.engine.reference import ReferenceEngine
from presencedb.implementation import COMPILED, PYTHON, compiled_module
from presencedb.transitions import Transition, Transitions

__all__ = [
    "IMPLEMENTATION",
    "RETENTION_ONLINE",
    "Copies",
    "Copy",
    "Engine",
    "EngineConfig",
    "EngineStats",
    "TickWentBack",
    "Transition",
    "Transitions",
    "create_engine",
]


class _Make(Protocol):
    def __call__(self, config: EngineConfig, *, tick: int) -> Engine: ...


_kernel = compiled_module("presencedb.engine._kernel")
_make: _Make = ReferenceEngine if _kernel is None else _kernel.KernelEngine

IMPLEMENTATION: Final[str] = PYTHON if _kernel is None else COMPILED
"""`c` or `python`: which engine `create_engine` makes."""


def create_engine(config: EngineConfig, *, tick: int) -> Engine:
    """An empty engine whose time begins at `tick`.

    Raises:
        ValueError: the tick is out of range.
    """
    return _make(config, tick=tick)
