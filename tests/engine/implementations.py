"""The engines there are to test. A new implementation is appended here, and every test of this folder runs on it too."""

from __future__ import annotations

from typing import Final, Protocol

from presencedb.engine import Engine, EngineConfig
from presencedb.engine.reference import ReferenceEngine
from presencedb.implementation import compiled_module


class MakeEngine(Protocol):
    """How an engine is constructed."""

    def __call__(self, config: EngineConfig, *, tick: int) -> Engine: ...


_kernel = compiled_module("presencedb.engine._kernel")
IMPLEMENTATIONS: Final[dict[str, MakeEngine]] = {
    "python": ReferenceEngine,
    **({} if _kernel is None else {"c": _kernel.KernelEngine}),
}
