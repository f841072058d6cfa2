"""What the table runs against: a node in this process, and a real one. A router comes to stand beside them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from presencedb.credentials import Credentials, parse_secrets
from presencedb.node.node import Node, NodeSettings
from tests.conformance.case import TICK_MS, TOKENS, TTL_MS, Case, Server
from tests.support.process import ServerProcess

TOKEN_FILE: Final = "".join(f"conformance:{token}{':' + rights if rights else ''}\n" for token, rights in TOKENS.items())


@contextlib.asynccontextmanager
async def node_for(case: Case) -> AsyncIterator[tuple[str, int]]:
    """The address of a fresh node in this process and loop, set up as the case wants it."""
    guarded = case.server is Server.GUARDED
    settings = NodeSettings(
        listen=("127.0.0.1", 0),
        ttl_ms=TTL_MS,
        tick_ms=TICK_MS,
        credentials=Credentials(parse_secrets(TOKEN_FILE, "tokens")) if guarded else None,
        warm_up=case.server is Server.WARMING,
    )
    node = Node(settings)
    await node.start()
    try:
        assert node.tcp_address is not None
        yield node.tcp_address
    finally:
        await node.stop()


class NodeProcesses:
    """Nodes as processes, one for each way of setting them up, and one for each case that counts on a fresh one."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._shared: dict[Server, ServerProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def address_for(self, case: Case) -> Iterator[tuple[str, int]]:
        """The address of a node set up as the case wants it."""
        if case.fresh:
            with self._process(case.server) as process:
                yield process.tcp
            return
        if case.server not in self._shared:
            self._shared[case.server] = self._stack.enter_context(self._process(case.server))
        yield self._shared[case.server].tcp

    def _process(self, server: Server) -> ServerProcess:
        arguments = ["--listen", "127.0.0.1:0", "--ttl", str(TTL_MS // 1000), "--tick", str(TICK_MS)]
        if server is Server.WARMING:
            arguments.append("--warm-up")
        elif server is Server.GUARDED:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="presencedb-")))
            (folder / "tokens").write_text(TOKEN_FILE, encoding="utf-8")
            (folder / "tokens").chmod(0o600)
            arguments += ["--token-file", str(folder / "tokens")]
        return ServerProcess("node", *arguments)
