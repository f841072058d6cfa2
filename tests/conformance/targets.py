"""What the table runs against: a node in this process, a real one, and a router over nodes in this process."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.dial import MakeSocket, socket_maker
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Greeting
from presencedb.credentials import Credentials, parse_secrets
from presencedb.node.cluster.settings import ClusterSettings
from presencedb.node.node import Node, NodeSettings
from presencedb.placement import Member, Topology
from tests.conformance import wire
from tests.conformance.case import MEMBER, TICK_MS, TOKENS, TTL_MS, Case, Server
from tests.conformance.cases import CASES
from tests.router.running import running_router
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until_async

TOKEN_FILE: Final = "".join(f"conformance:{token}{':' + rights if rights else ''}\n" for token, rights in TOKENS.items())


_SEVERAL: Final = "changes of different users come from different nodes, in no order"
_NOT_ASKED: Final = "members ask each other; a router is none, and refuses it: tests/router/"
DIFFERENT_BEHIND_A_ROUTER: Final = {
    "info": "it tells of every node: tests/router/",
    "topology": "it has more members than one: tests/router/",
    "heartbeats of which each wants to know": "it answers the number: tests/router/",
    "the changes of a batch come in one notification, in order": _SEVERAL,
    "watch from a cursor has the statuses there, then exactly what was missed": _SEVERAL,
    "in a warm-up the statuses of a watch may be unknown": "of slots that no node is synced in it tells nothing",
    "too many ids at once, and then none of them is watched": "who is known already is what was told last, up to a tick ago",
    "slots": _NOT_ASKED,
    "in a warm-up no slot is synced": _NOT_ASKED,
    "ages of a node that stands alone": _NOT_ASKED,
    "pages_out of a node that stands alone": _NOT_ASKED,
    "missed of a node that stands alone": _NOT_ASKED,
    "a token that may look inside and nothing else": "it looks into a node: tests/router/",
    "a token with every right": "it asks what members ask each other: tests/router/",
}
"""What a router answers in another way than a node, by contract: the name of the case, and why or where to look."""


def routed_cases() -> list[Case]:
    """The cases that a router passes unchanged. Changes are told by nodes, and members ask each other."""
    assert {each.name for each in CASES} > DIFFERENT_BEHIND_A_ROUTER.keys()
    return [each for each in CASES if each.name not in DIFFERENT_BEHIND_A_ROUTER and each.server is not Server.MEMBER]


def sent_by(case: Case) -> bytes:
    """All that a case sends, values that it keeps left out."""
    return b"".join(
        exchange.sent if isinstance(exchange.sent, bytes) else b"".join(wire.value(message[:3]) for message in exchange.sent)
        for exchange in case.exchanges
    )


@contextlib.asynccontextmanager
async def node_for(case: Case) -> AsyncIterator[tuple[str, int]]:
    """The address of a fresh node in this process and loop, set up as the case wants it."""
    guarded = case.server is Server.GUARDED
    with tempfile.TemporaryDirectory(prefix="presencedb-") as folder:
        settings = NodeSettings(
            listen=("127.0.0.1", 0),
            ttl_ms=TTL_MS,
            tick_ms=TICK_MS,
            credentials=Credentials(parse_secrets(TOKEN_FILE, "tokens")) if guarded else None,
            warm_up=case.server is Server.WARMING,
            cluster=lone_member(Path(folder)) if case.server is Server.MEMBER else None,
        )
        node = Node(settings)
        await node.start()
        try:
            await wait_until_async(lambda: node.ready)
            assert node.tcp_address is not None
            yield node.tcp_address
        finally:
            await node.stop()


def lone_member(data_dir: Path) -> ClusterSettings:
    """The cluster of which `MEMBER` is the only member, at its first start."""
    topology = Topology(
        MEMBER["epoch"], MEMBER["seed"], MEMBER["replicas"], (Member(MEMBER["id"], MEMBER["address"], MEMBER["weight"]),)
    )
    greeting = Greeting(MEMBER["id"])
    settings: ClientSettings[MakeSocket] = ClientSettings(targets=[], greeting=greeting, connect_timeout_s=2, timeout_s=5)
    dialling = Dialling(settings, socket_maker)
    return ClusterSettings(name="conformance", topology=topology, dialling=dialling, data_dir=data_dir)


@contextlib.asynccontextmanager
async def router_for(case: Case, replicas: int) -> AsyncIterator[tuple[str, int]]:
    """The address of a fresh router over three nodes, set up as the case wants it."""
    credentials = Credentials(parse_secrets(TOKEN_FILE, "tokens")) if case.server is Server.GUARDED else None
    async with running_router(
        replicas=replicas,
        router={"credentials": credentials},
        ttl_ms=TTL_MS,
        tick_ms=TICK_MS,
        warm_up=case.server is Server.WARMING,
    ) as routed:
        yield routed.address


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
