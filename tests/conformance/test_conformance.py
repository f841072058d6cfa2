"""The table of conformance against every kind of server, and the table against the code: nothing is left out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from presencedb.errors import ERRORS
from presencedb.protocol.commands import COMMANDS
from tests.conformance import wire
from tests.conformance.case import Case, Exchange, Server, case, say
from tests.conformance.cases import CASES
from tests.conformance.patterns import COUNT, Keep, Kept, Mismatch
from tests.conformance.runner import run_case
from tests.conformance.targets import NodeProcesses, node_for, routed_cases, router_for, sent_by

SINGLE_BYTES_MAX = 4_000
"""Longer exchanges are cut into pieces of a kilobyte instead."""
NOT_BY_BYTES = {
    "busy": "only with 1,024 requests in flight, and a node answers at once: tests/protocol/test_order.py",
    "moved": "only where a cluster has several members: tests/node/cluster/",
}


def name_of(each: Case) -> str:
    return each.name.replace(" ", "-")


each_case = pytest.mark.parametrize("each", CASES, ids=name_of)


@pytest.fixture(scope="module")
def processes() -> Iterator[NodeProcesses]:
    with NodeProcesses() as running:
        yield running


@each_case
async def test_a_node_in_this_process(each: Case) -> None:
    async with node_for(each) as address:
        await asyncio.to_thread(run_case, each, address)


@each_case
async def test_a_node_whose_input_comes_in_small_pieces(each: Case) -> None:
    longest = max(len(exchange.sent) for exchange in each.exchanges)
    async with node_for(each) as address:
        await asyncio.to_thread(run_case, each, address, piece_bytes=1 if longest < SINGLE_BYTES_MAX else 1024)


@pytest.mark.parametrize("each", [each for each in CASES if each.server is not Server.MEMBER], ids=name_of)
def test_a_node_as_a_process(each: Case, processes: NodeProcesses) -> None:
    with processes.address_for(each) as address:
        run_case(each, address)


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("each", routed_cases(), ids=name_of)
async def test_a_router_over_three_nodes(each: Case, replicas: int) -> None:
    async with router_for(each, replicas) as address:
        await asyncio.to_thread(run_case, each, address)


# --- the table against the code --------------------------------------------------------------------------------------


def sent_bytes() -> bytes:
    return b"".join(map(sent_by, CASES))


def answered_codes() -> set[str]:
    codes: set[str] = set()
    for each in CASES:
        for answer in (answer for exchange in each.exchanges for answer in exchange.answers):
            if isinstance(answer, bytes) and (
                found := re.match(
                    rb"\x94\x01(?:[\x00-\x7f]|\xcc.|\xcd..|\xce.{4})\x92[\xa0-\xbf]([a-z_]+)", answer, re.DOTALL
                )
            ):
                codes.add(found[1].decode())
    return codes


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_case_in_which_it_succeeds(name: str) -> None:
    succeeded = [
        each.name
        for each in CASES
        for exchange in each.exchanges
        for answer in exchange.answers
        if wire.value(name)
        in (exchange.sent if isinstance(exchange.sent, bytes) else wire.value([m[2] for m in exchange.sent]))
        and (isinstance(answer, list) or answer[:2] == b"\x94\x01")
    ]
    assert succeeded


@pytest.mark.parametrize("option", sorted({option for command in COMMANDS.values() for option in command.options}))
def test_every_option_has_a_case(option: str) -> None:
    assert wire.value(option) in sent_bytes()


def test_every_error_has_a_case_or_a_reason_why_not() -> None:
    assert answered_codes() == set(ERRORS) - set(NOT_BY_BYTES)


# --- the runner itself: it must notice -------------------------------------------------------------------------------

PING = wire.request(7, "ping")
PONG = wire.result(7, "pong")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (case("another answer", say(PING, wire.result(7, "gnop"))), "expected"),
        (case("another kind of integer", say(PING, b"\x94\x01\xcc\x07\xc0\xa4pong")), "expected"),
        (case("an answer too few", say(PING * 2, PONG)), "after the last answer there came 94 01 07"),
        (case("an answer too many", say(PING, PONG, PONG), closes=False), "nothing came for"),
        (case("a close too many", say(PING, PONG), closes=True), "nothing came for"),
        (case("a pattern that does not fit", say(PING, [1, 7, None, COUNT])), "'pong' is no count"),
        (
            case("a map with other keys", say(wire.request(1, "topology"), [1, 1, None, {"epoch": COUNT}])),
            "a map has the keys",
        ),
        (case("an array of another size", say(PING, [1, 7, None])), "an array has 4 elements, not 3"),
        (
            case("a value that was not kept", Exchange([[0, 7, "ping", []]], ([1, 7, None, Keep("x", COUNT)],))),
            "is no count",
        ),
    ],
    ids=lambda value: value.name.replace(" ", "-") if isinstance(value, Case) else "",
)
async def test_the_runner_notices(wrong: Case, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.conformance.runner.DEADLINE_S", 0.5)
    async with node_for(wrong) as address:
        with pytest.raises(Mismatch, match=re.escape(why)):
            await asyncio.to_thread(run_case, wrong, address)


def test_a_value_is_kept_and_used_again() -> None:
    from tests.conformance.patterns import check, with_kept

    kept: dict[str, object] = {}
    check([1, Keep("n", COUNT), [Kept("n")]], b"\x93\x01\x05\x91\x05", [1, 5, [5]], kept)
    assert with_kept({"a": [Kept("n")]}, kept) == {"a": [5]}
    with pytest.raises(Mismatch):
        check([1, Keep("n", COUNT), [Kept("n")]], b"\x93\x01\x05\x91\x06", [1, 5, [6]], kept)
