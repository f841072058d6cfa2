"""The engines there are to test. A new implementation is appended here, and every test of this folder runs on it too."""

from __future__ import annotations

from typing import Final, Protocol

from presencedb.engine import Engine, EngineConfig
from presencedb.engine.reference import ReferenceEngine


class MakeEngine(Protocol):
    """How an engine is constructed."""

    def __call__(self, config: EngineConfig, *, tick: int) -> Engine: ...


IMPLEMENTATIONS: Final[dict[str, MakeEngine]] = {"python": ReferenceEngine}
