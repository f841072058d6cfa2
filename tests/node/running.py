"""Nodes for tests: in this process, and as one of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from presencedb.clock import Clock
from presencedb.node.node import Node, NodeSettings
from presencedb.transport.loop import LoopKind
from tests.support import node_process as script
from tests.support.process import ServerProcess

QUICK: Final = NodeSettings(listen=("127.0.0.1", 0), ttl_ms=1_000, tick_ms=50, seed=1, drain_timeout_ms=20_000)
"""A free port, times that a test can wait for, and one that a stop on a busy machine does not need."""


@contextlib.asynccontextmanager
async def running_node(*, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Node]:
    """A node on a free port, stopped at the end; settings that differ from `QUICK` by name."""
    node = Node(dataclasses.replace(QUICK, **settings), clock=clock)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


def address_of(node: Node) -> tuple[str, int]:
    """Where it listens."""
    assert node.tcp_address is not None
    return node.tcp_address


def node_process(kind: LoopKind, *, ttl_ms: int, tick_ms: int = 100) -> ServerProcess:
    """A node as a process on this kind of loop; use it in `with`."""
    process = ServerProcess()
    # -P: the folder of the script is none of its business.
    process.command = [sys.executable, "-P", str(Path(script.__file__)), kind, str(ttl_ms), str(tick_ms)]
    return process
