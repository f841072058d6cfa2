"""`presencedb cluster up`, and `presencedb serve --nodes`: a whole cluster on this machine, each part a process."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from presencedb.cli.banner import admin_line, cli_line, curl_line, gateway_lines, node_lines, node_url
from presencedb.cli.children import Child
from presencedb.cli.local_cluster import LocalCluster
from presencedb.cli.output import counted
from presencedb.cli.reload import Reloadable
from presencedb.cli.serving import Signals, announce_lines, run_server
from presencedb.client.aio import AsyncClient
from presencedb.config import DRAIN_TIMEOUT, RESTART, UNIX
from presencedb.errors import Error
from presencedb.limits import SECOND_MS
from presencedb.settings import Settings
from presencedb.units import parse_address
from presencedb.version import __version__

log = structlog.get_logger()

_JOINED_S: Final = 5.0
"""How long the ready lines wait at most for the processes to find together."""
_LOOK_S: Final = 0.05
_MARGIN_S: Final = 3.0
"""What a process may take to end beyond its drain timeout before it is killed."""
_PAUSE_S: Final = 0.5
_PAUSE_S_MAX: Final = 10.0
_HEALTHY_S: Final = 10.0
"""Who ran that long is started again at once, others after a pause, which doubles with each attempt that fails."""


def run(settings: Settings, _arguments: Sequence[str]) -> None:
    """Carry the command out."""
    run_cluster(settings, _announce_each)


Announce = Callable[[Settings, LocalCluster], None]


def run_cluster(settings: Settings, announce: Announce) -> None:
    """Run a cluster until this process is asked to end; `announce` is called when all of it serves.

    Raises:
        presencedb.Error: a part of it could not start.
    """
    with tempfile.TemporaryDirectory(prefix="presencedb-") as folder:
        running = _Running(settings, LocalCluster(settings, Path(folder)), announce)
        run_server(settings, running.main)


class _Running:
    """The cluster while it runs."""

    def __init__(self, settings: Settings, cluster: LocalCluster, announce: Announce) -> None:
        self._settings = settings
        self._cluster = cluster
        self._announce = announce

    async def main(self) -> None:
        """Start everything, announce it, look after it until the end, and end it.

        Raises:
            presencedb.Error: a part could not start.
        """
        signals = Signals(self._settings)
        told_to_end = asyncio.create_task(signals.wait_for_end())
        starting = asyncio.create_task(self._start())
        watching: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait((told_to_end, starting), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                signals.reloadables = [Reloadable("what each process has read", self._reload)]
                watching = [asyncio.create_task(self._watch(child)) for child in self._cluster.children]
                for child in self._cluster.children:
                    child.release()
                self._announce(self._settings, self._cluster)
                await told_to_end
        finally:
            for task in (told_to_end, starting, *watching):
                task.cancel()
            await asyncio.gather(told_to_end, starting, *watching, return_exceptions=True)
            await self._stop()

    async def _start(self) -> None:
        await asyncio.gather(*(child.start() for child in self._cluster.children))
        await self._wait_until_joined()

    async def _wait_until_joined(self) -> None:
        """Wait until the router reaches all nodes, and those of a cluster that is new know that nobody is online.

        It goes on without, if that takes too long.
        """
        try:
            async with asyncio.timeout(_JOINED_S), self._client() as db:
                while True:
                    told = (await db.info())["nodes"].values()
                    if all(_has_joined(info, new=self._cluster.is_new) for info in told):
                        break
                    await asyncio.sleep(_LOOK_S)
        except (Error, TimeoutError):
            log.warning("not all nodes have found together yet; until then some users are unknown")

    def _client(self) -> AsyncClient:
        cluster = self._cluster
        return AsyncClient(f"presence+unix://{cluster.socket_path.absolute()}", token_file=cluster.token_file)

    async def _watch(self, child: Child) -> None:
        """Tell when a process has died, and start it again if that is meant."""
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            how = await child.wait()
            log.warning("a process has died", process=child.name, pid=child.pid, how=how)
            if not self._settings[RESTART]:
                return
            await self._start_again(child, 0.0 if loop.time() - started_s > _HEALTHY_S else _PAUSE_S)

    async def _start_again(self, child: Child, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await child.start()
            except Error as error:
                log.error("it cannot be started again", process=child.name, reason=error.message)
                pause_s = min(max(_PAUSE_S, 2 * pause_s), _PAUSE_S_MAX)
            else:
                child.release()
                print(process_line(self._settings, child), flush=True)
                return

    def _reload(self) -> None:
        for child in self._cluster.children:
            child.send_signal(signal.SIGHUP)

    async def _stop(self) -> None:
        """End those first that talk to the others."""
        timeout_s = self._settings[DRAIN_TIMEOUT] / SECOND_MS + _MARGIN_S
        await self._cluster.gateway.stop(timeout_s)
        await self._cluster.router.stop(timeout_s)
        await asyncio.gather(*(node.stop(timeout_s) for node in self._cluster.nodes))


def banner(settings: Settings, cluster: LocalCluster) -> list[str]:
    """What runs, and what to try."""
    topology = cluster.file.topology
    tcp = cluster.router.addresses.get("tcp")
    url = node_url(settings, parse_address(tcp) if tcp is not None else None, cluster.socket_path)
    victim = cluster.nodes[0]
    lines = [
        f"presencedb {__version__}: a cluster of {counted(len(topology.members), 'node')}, replicas {topology.replicas}",
        *node_lines(settings),
        *gateway_lines(settings),
        "try:",
        f"  {curl_line(settings, parse_address(cluster.gateway.addresses['http']))}",
        f"  {cli_line(settings, url)}",
    ]
    if (looking := admin_line(settings, url, "cluster status")) is not None:
        lines.append(f"  {looking}")
    fate = (
        "whoever beats stays online, and nobody is lost"
        if min(topology.replicas, len(topology.members)) > 1
        else "its users are unknown until it is back and they have beaten"
    )
    return [*lines, f"  kill -9 {victim.pid}  # {victim.name} dies: {fate}"]


def process_line(settings: Settings, child: Child) -> str:
    """The ready line of one process: `ready node=n1 pid=4711 tcp=127.0.0.1:41237`."""
    what = child.name if child.name in ("router", "gateway") else f"node={child.name}"
    places = (f"{name}={place}" for name, place in shown_addresses(settings, child).items())
    return " ".join(["ready", what, f"pid={child.pid}", *places])


def shown_addresses(settings: Settings, child: Child) -> dict[str, str]:
    """Where clients find it; the Unix socket, by which the gateway finds the router, only if they were meant to use it."""
    return {name: place for name, place in child.addresses.items() if name != "unix" or settings[UNIX] is not None}


def _announce_each(settings: Settings, cluster: LocalCluster) -> None:
    announce_lines(settings, banner(settings, cluster), [process_line(settings, child) for child in cluster.children])


def _has_joined(info: Any, *, new: bool) -> bool:
    """Whether a node has told anything, and, in a cluster that is new, knows all of its slots."""
    return isinstance(info, dict) and (not new or info.get("slots_synced") == info.get("slots_owned"))
