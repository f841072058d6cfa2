"""How long one call of the blocking client takes, next to redis-py: `python -m bench.compare.clients`.

One call at a time, on one connection, from a process on a processor of its own: what a web worker sees. Both take turns in
each round, and all answers are checked. Each asks its own server in its natural way.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import presencedb
from bench.compare import peers
from bench.load.generator import BUILD
from presencedb.states import Status

SERVER_CPU = 0
CLIENT_CPU = 1
TTL_S = 3600
USER_COUNT = 100
WARM_UP_CALLS = 300
REDIS_PY = "redis"


@dataclass(frozen=True, slots=True)
class Row:
    """The same question to each: `call` gives the answer, which is `answer` each time."""

    name: str
    calls: dict[str, Callable[[], Any]]
    answers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one round's calls, in microseconds."""

    median_us: float
    p99_us: float


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare.clients", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each client (default %(default)s)")
    parser.add_argument("--calls", type=int, default=1000, help="calls in one turn (default %(default)s)")
    parser.add_argument(
        "--peer", choices=["redis", "valkey"], default="redis", help="what redis-py asks (default %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    redis_py = _import_redis_py()
    os.sched_setaffinity(0, {CLIENT_CPU})
    with ExitStack() as stack:
        node = stack.enter_context(peers.presencedb(SERVER_CPU, "--ttl", str(TTL_S)))
        other = stack.enter_context(peers.redis_like(arguments.peer, SERVER_CPU))
        own = stack.enter_context(presencedb.Client(f"presence://127.0.0.1:{node.port}"))
        theirs = stack.enter_context(redis_py.Redis(port=other.port))
        print(f"Measured with {other.peer} {other.version} and redis-py {redis_py.__version__}.\n")
        print("| one call of a blocking client, us | presencedb | redis-py | ratio |")
        print("|---|---|---|---|")
        figures = {}
        for row in rows(own, theirs):
            figures[row.name] = _measure(row, arguments.rounds, arguments.calls)
            _print(row.name, figures[row.name])
    if arguments.json:
        text = json.dumps(
            {name: {who: [asdict(one) for one in of] for who, of in row.items()} for name, row in figures.items()}
        )
        arguments.json.write_text(text + "\n")


def rows(own: presencedb.Client, theirs: Any) -> list[Row]:
    """What is asked, once there is somebody to ask about."""
    ids = list(range(1, USER_COUNT + 1))
    keys = [str(user_id) for user_id in ids]
    packed = array("Q", ids)
    own.heartbeat_batch(ids)
    for key in keys:
        theirs.set(key, "1", ex=TTL_S)
    return [
        Row(
            "status of one, GET",
            {"presencedb": lambda: own.status([42]), REDIS_PY: lambda: theirs.get("42")},
            {"presencedb": {42: True}, REDIS_PY: b"1"},
        ),
        Row(
            "status of 100, MGET",
            {"presencedb": lambda: own.status(ids), REDIS_PY: lambda: theirs.mget(keys)},
            {"presencedb": dict.fromkeys(ids, True), REDIS_PY: [b"1"] * USER_COUNT},
        ),
        Row(
            "status_array of 100, MGET",
            {"presencedb": lambda: own.status_array(packed), REDIS_PY: lambda: theirs.mget(keys)},
            {"presencedb": bytes([Status.ONLINE]) * USER_COUNT, REDIS_PY: [b"1"] * USER_COUNT},
        ),
        Row(
            "heartbeat, SET EX",
            {"presencedb": lambda: own.heartbeat(42), REDIS_PY: lambda: theirs.set("42", "1", ex=TTL_S)},
            {"presencedb": None, REDIS_PY: True},
        ),
        Row(
            "ping, PING",
            {"presencedb": lambda: own.ping() > 0, REDIS_PY: theirs.ping},
            {"presencedb": True, REDIS_PY: True},
        ),
    ]


def _measure(row: Row, round_count: int, call_count: int) -> dict[str, list[Latency]]:
    figures: dict[str, list[Latency]] = {who: [] for who in row.calls}
    for who, call in row.calls.items():
        _take_times(call, row.answers[who], WARM_UP_CALLS)
    for _ in range(round_count):
        for who, call in row.calls.items():
            times_us = sorted(_take_times(call, row.answers[who], call_count))
            figures[who].append(Latency(median(times_us), times_us[len(times_us) * 99 // 100]))
    return figures


def _take_times(call: Callable[[], Any], answer: Any, call_count: int) -> list[float]:
    times_us = []
    for _ in range(call_count):
        began_ns = time.perf_counter_ns()
        given = call()
        times_us.append((time.perf_counter_ns() - began_ns) / 1000)
        if given != answer:
            raise RuntimeError(f"a wrong answer: {given!r} instead of {answer!r}")
    return times_us


def _print(name: str, figures: dict[str, list[Latency]]) -> None:
    ratios = [own.median_us / other.median_us for own, other in zip(figures["presencedb"], figures[REDIS_PY], strict=True)]
    cells = [_cell(figures[who]) for who in ("presencedb", REDIS_PY)]
    print(f"| {name} | {' | '.join(cells)} | {median(ratios):.2f} |", flush=True)


def _cell(rounds: Sequence[Latency]) -> str:
    medians = [one.median_us for one in rounds]
    return f"{median(medians):.0f} ({min(medians):.0f}-{max(medians):.0f}), p99 {median(one.p99_us for one in rounds):.0f}"


def _import_redis_py() -> Any:
    """redis-py from its wheel on PyPI, in a folder of its own."""
    target = BUILD / "redis-py"
    if not target.exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), REDIS_PY]
        subprocess.run(command, check=True)
    sys.path.append(str(target))
    return importlib.import_module(REDIS_PY)


if __name__ == "__main__":
    main()
