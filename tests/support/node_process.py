"""A node as a process of its own on a chosen event loop: `python node_process.py LOOP TTL_MS TICK_MS`.

It prints a ready line as `presencedb node` does, which takes the loop that is there. It imports nothing of the tests, so
that it runs what is installed, wherever it is started.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from presencedb.node.node import Node, NodeSettings
from presencedb.transport.loop import LoopKind, loop_name, run


async def _serve(ttl_ms: int, tick_ms: int) -> None:
    told_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    node = Node(NodeSettings(listen=("127.0.0.1", 0), ttl_ms=ttl_ms, tick_ms=tick_ms))
    await node.start()
    assert node.tcp_address is not None
    host, port = node.tcp_address
    print(f"ready tcp={host}:{port} loop={loop_name()}", flush=True)
    await told_to_end.wait()
    await node.stop()


if __name__ == "__main__":
    loop_kind: LoopKind = "uvloop" if sys.argv[1] == "uvloop" else "asyncio"
    run(_serve(int(sys.argv[2]), int(sys.argv[3])), kind=loop_kind)
