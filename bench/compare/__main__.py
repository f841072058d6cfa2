"""presencedb next to Redis and Valkey, in one run: `python -m bench.compare`.

Servers run on processor 0, the load on processor 1, and the peers take turns, so that a machine that is shared and slows
down does so for all. Each figure is the median of the rounds, with the least and the greatest behind it; ratios are taken
round by round against the best peer. Answers are checked while they are counted.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median

from bench.compare import events, fan_out
from bench.compare.peers import Server, presencedb, redis_like
from bench.compare.rows import ROWS, Row
from bench.load import generator

SERVER_CPU = 0
LOAD_CPU = 1
LONG_TTL_S = 3600
PEERS = ("presencedb", "redis", "valkey")


def main() -> None:
    """Run what the command line names and print the tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", default="all", choices=["load", "memory", "events", "fan-out", "all"], help="(all)"
    )
    parser.add_argument("--users", type=int, default=1_000_000, help="users that a server holds (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each peer (default %(default)s)")
    parser.add_argument("--duration-ms", type=int, default=2000, help="of one turn (default %(default)s)")
    parser.add_argument("--kinds", default="int32,int64,uuid", help="kinds of ids for memory (default %(default)s)")
    parser.add_argument("--live", default="0,10000,1000000", help="users beside the events (default %(default)s)")
    parser.add_argument("--watchers", type=int, default=10_000, help="of one user, for fan-out (default %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    parts = ["load", "memory", "events", "fan-out"] if "all" in arguments.parts else arguments.parts
    results: dict[str, object] = {"machine": _machine()}
    print(f"Measured on {_machine()}.\n")
    if "load" in parts:
        results["load"] = compare_load(arguments.users, arguments.rounds, arguments.duration_ms)
    if "memory" in parts:
        results["memory"] = compare_memory(arguments.users, arguments.kinds.split(","))
    if "events" in parts:
        results["events"] = compare_events([int(count) for count in arguments.live.split(",")])
    if "fan-out" in parts:
        results["fan_out"] = compare_fan_out(arguments.watchers)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


@contextmanager
def _server(peer: str, ttl_s: int = LONG_TTL_S, *, connections_max: int = 1000) -> Iterator[Server]:
    if peer == "presencedb":
        with presencedb(SERVER_CPU, "--ttl", str(ttl_s)) as server:
            yield server
    else:
        with redis_like(peer, SERVER_CPU, "--maxclients", str(connections_max)) as server:
            yield server


def _populate(server: Server, users: int, kind: str = "int32") -> None:
    shape = ["--ids-per-frame", "1000", "--pipeline", "4", "--ttl", str(LONG_TTL_S), "--kind", kind]
    generator.run([*server.arguments, "--op", "heartbeat", "--sequential", "--keys", str(users), *shape], LOAD_CPU)


def compare_load(users: int, rounds: int, duration_ms: int) -> dict[str, dict[str, list[float]]]:
    """Throughput of every row, for each peer and round."""
    figures: dict[str, dict[str, list[float]]] = {row.name: {peer: [] for peer in PEERS} for row in ROWS}
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(peer)) for peer in PEERS]
        for server in servers:
            _populate(server, users)
        print(
            "| " + " | ".join(["", *(f"{server.peer} {server.version}" for server in servers), "ratio", "load core"]) + " |"
        )
        print("|---" * (len(PEERS) + 3) + "|")
        for row in ROWS:
            busiest = 0.0
            for round_number in range(rounds):
                for server in servers:
                    load = _run_row(row, server, users, duration_ms, round_number)
                    figures[row.name][server.peer].append(load.ids_per_s if row.unit == "ids_per_s" else load.frames_per_s)
                    busiest = max(busiest, load.generator_cpu_share)
            _print_row(row.name, figures[row.name], busiest)
    print()
    return figures


def _run_row(row: Row, server: Server, users: int, duration_ms: int, round_number: int) -> generator.Load:
    shape = ["--keys", str(users), "--duration-ms", str(duration_ms), "--seed", str(round_number + 1)]
    load = generator.run([*server.arguments, *row.load, *shape, "--ttl", str(LONG_TTL_S)], LOAD_CPU)
    asked = load.ids_true + load.ids_false
    if row.expect_known is not None and load.ids_true != (asked if row.expect_known else 0):
        raise RuntimeError(f"{server.peer} answered {load.ids_true} of {asked} known: {row.name}")
    return load


def _print_row(name: str, figures: dict[str, list[float]], busiest: float) -> None:
    best = [max(pair) for pair in zip(*(figures[peer] for peer in PEERS if peer != "presencedb"), strict=True)]
    ratios = [own / other for own, other in zip(figures["presencedb"], best, strict=True)]
    cells = [
        _spread(figures[peer], 1e6, "M") if median(figures[peer]) > 1e6 else _spread(figures[peer], 1e3, "k")
        for peer in PEERS
    ]
    print("| " + " | ".join([name, *cells, f"{median(ratios):.1f} x", f"{busiest:.0%}"]) + " |", flush=True)


def _spread(values: list[float], unit: float, name: str) -> str:
    return f"{median(values) / unit:.2f} {name} ({min(values) / unit:.2f}-{max(values) / unit:.2f})"


def compare_memory(users: int, kinds: list[str]) -> dict[str, dict[str, float]]:
    """Resident bytes a user: the growth of a fresh server by `users` users."""
    print("| bytes a user (RSS) | " + " | ".join(PEERS) + " |")
    print("|---" * (len(PEERS) + 1) + "|")
    figures: dict[str, dict[str, float]] = {}
    for kind in kinds:
        figures[kind] = {}
        for peer in PEERS:
            with _server(peer) as server:
                before = server.rss_bytes()
                _populate(server, users, kind)
                figures[kind][peer] = (server.rss_bytes() - before) / users
        print(f"| {users:,} {kind} | " + " | ".join(f"{figures[kind][peer]:.1f}" for peer in PEERS) + " |", flush=True)
    print()
    return figures


def compare_events(live_counts: list[int]) -> dict[str, dict[str, object]]:
    """Lateness of offline events beside live users."""
    print("| offline events of 1,000 users due at once, beside | " + " | ".join(PEERS) + " |")
    print("|---" * (len(PEERS) + 1) + "|")
    figures: dict[str, dict[str, object]] = {}
    for live in live_counts:
        cells = []
        for peer in PEERS:
            with _server(peer, events.PROBE_TTL_S) as server:
                late = events.measure(server, live, LOAD_CPU)
            figures.setdefault(str(live), {})[peer] = asdict(late)
            cells.append(f"{late.delivered} came, median {late.median_ms:.0f} ms, last {late.max_ms:.0f} ms late")
        print(f"| {live:,} live users | " + " | ".join(cells) + " |", flush=True)
    print()
    return figures


def compare_fan_out(watchers: int) -> dict[str, dict[str, float]]:
    """How long one change takes to reach many who watch one user."""
    fan_out.allow_connections(watchers)
    figures: dict[str, dict[str, float]] = {}
    print(f"| one change to {watchers:,} | first to last | request to first | processor time | reading core |")
    print("|---" * 5 + "|")
    for peer in PEERS:
        with _server(peer, connections_max=watchers + 100) as server:
            went = fan_out.measure(server, watchers, LOAD_CPU)
        figures[peer] = asdict(went)
        times = f"{went.between_ms:.0f} ms | {went.first_ms:.0f} ms | {went.server_cpu_ms:.0f} ms"
        print(f"| {peer} | {times} | {went.reader_share:.0%} |", flush=True)
    print()
    return figures


def _machine() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{model}, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
