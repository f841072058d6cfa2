"""The blocking client where it differs from `AsyncClient`: connections and threads. What both do is tested over both."""

from __future__ import annotations

import inspect
import re
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from presencedb import AsyncClient, CallTrace, Client, ConnectionState
from presencedb.client import blocking_feed, caller, coalesce, follow, pool, watch
from presencedb.client.channel import Channel
from presencedb.errors import Busy, Denied
from presencedb.limits import CLIENT_IDLE_MS_MAX
from presencedb.protocol.messages import Request
from presencedb.protocol.session import ServerSession
from tests.client.fake_server import SILENCE, Peer
from tests.client.loop_thread import FakeServerThread, fake_server, node_in_thread
from tests.client.running import url_of
from tests.support.process import clean_environment, serve
from tests.support.waiting import wait_until

# --- one interface -------------------------------------------------------------------------------------------------------

RENAMED = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__", "__anext__": "__next__"}


def public(kind: type) -> dict[str, Any]:
    """What is public in a class, by the names of the blocking client."""
    names = {name for one in kind.__mro__ if one.__module__.startswith("presencedb") for name in vars(one)}
    shown = [name for name in names if name[0] != "_" or name in RENAMED or name in RENAMED.values()]
    return {RENAMED.get(name, name): inspect.getattr_static(kind, name) for name in shown}


def parameters(function: Any) -> list[tuple[str, Any, Any, str]]:
    return [
        (parameter.name, parameter.kind, parameter.default, str(parameter.annotation))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "connect"
    ]


def errors_of(documented: Any) -> set[str]:
    """The errors in the "Raises" part of a docstring."""
    text = (documented.__doc__ or "").partition("Raises:")[2]
    return set(re.findall(r"^ +((?:\w+, )*\w+): ", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("blocking", "asyncio_one", "more_errors"),
    [
        (Client, AsyncClient, {}),
        (blocking_feed.Follow, follow.AsyncFollow, {}),
        (blocking_feed.Watch, watch.AsyncWatch, {"add": {"CallTimeout"}, "remove": {"CallTimeout", "Error"}}),
    ],
    ids=["client", "follow", "watch"],
)
def test_both_clients_have_the_same_calls(blocking: type, asyncio_one: type, more_errors: dict[str, set[str]]) -> None:
    ours, theirs = public(blocking), public(asyncio_one)
    assert set(ours) == set(theirs)
    for name, theirs_one in theirs.items():
        if isinstance(theirs_one, property):
            assert isinstance(ours[name], property)
            continue
        assert parameters(ours[name]) == parameters(theirs_one), name
        assert errors_of(ours[name]) == errors_of(theirs_one) | more_errors.get(name, set()), name
        awaited = inspect.signature(theirs_one).return_annotation
        expected = re.sub(r"^Async(?=Iterator|Follow|Watch)", "", awaited)
        assert inspect.signature(ours[name]).return_annotation == expected, name


def test_both_clients_are_made_in_the_same_way() -> None:
    assert parameters(Client.__init__) == parameters(AsyncClient.__init__)
    assert set(inspect.signature(Client).parameters) == set(inspect.signature(AsyncClient).parameters)


def test_an_error_in_the_hook_of_calls_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def on_call(trace: CallTrace) -> None:
        raise RuntimeError("a hook that fails")

    with fake_server() as server, Client(server.fake.url, on_call=on_call) as db:
        assert db.count() == 0
    assert [(record.name, record.getMessage()) for record in caplog.records] == [(caller.LOG_NAME, "on_call failed")]


def test_calls_of_many_threads_are_all_counted() -> None:
    traces: list[CallTrace] = []
    with fake_server() as server, Client(server.fake.url, timeout_s=30, on_call=traces.append) as db:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: db.count(), range(200)))
        stats = db.stats()
    assert (stats.calls, stats.calls_in_flight, len(traces)) == (200, 0, 200)
    assert stats.frames_sent == 200 + stats.connections_made, "a hello on each"


def test_it_needs_no_event_loop_and_no_thread() -> None:
    script = """
import sys, threading
import presencedb
with presencedb.Client(sys.argv[1]) as db:
    db.heartbeat(42)
    assert db.status(["42", "bob"]) == {42: True, "bob": False}
    with db.follow() as changes:
        db.heartbeat("bob")
        print(next(changes).id, threading.active_count(), "asyncio" in sys.modules)
"""
    with serve() as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, server.url],
            capture_output=True,
            text=True,
            env=clean_environment(),
            check=False,
        )
    assert (done.stderr, done.stdout) == ("", "bob 1 False\n")


# --- connections ---------------------------------------------------------------------------------------------------------


def test_one_thread_needs_one_connection() -> None:
    with fake_server() as server, Client(server.fake.url) as db:
        for number in range(50):
            db.heartbeat(number)
            assert db.status([number]) == {number: True}
        assert server.fake.connection_count == 1


def test_many_threads_share_a_client() -> None:
    with node_in_thread() as node, Client(url_of(node), timeout_s=30) as db:

        def use(number: int) -> None:
            for turn in range(30):
                user_id = number * 1000 + turn
                db.heartbeat(user_id)
                assert db.status([user_id, -user_id - 1 + 2**63]) == {user_id: True, 2**63 - user_id - 1: False}

        with ThreadPoolExecutor(16) as threads:
            for done in [threads.submit(use, number) for number in range(16)]:
                done.result()
        assert db.count() == 16 * 30
        assert db.info()["connections"] <= 16


def test_more_threads_than_connections_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CLIENT_CONNECTIONS_MAX", 2)
    with fake_server() as server, Client(server.fake.url, timeout_s=30) as db:
        with ThreadPoolExecutor(12) as threads:
            counts = [threads.submit(db.count) for _ in range(300)]
            assert [count.result() for count in counts] == [0] * 300
        assert server.fake.connection_count <= 2


def have_connections(server: FakeServerThread, db: Client, count: int) -> None:
    """Have a client make so many connections, which are idle then."""
    waiting: list[tuple[Peer, Request]] = []

    def answer_all_at_once(peer: Peer, request: Request) -> object:
        waiting.append((peer, request))
        if len(waiting) == count:
            for one, asked in waiting:
                one.session.reply(asked, 0)
                one.flush()
        return SILENCE

    server.fake.script["count"] = answer_all_at_once
    with ThreadPoolExecutor(count) as threads:
        for done in [threads.submit(db.count) for _ in range(count)]:
            done.result()
    del server.fake.script["count"]
    assert len(idle_connections(db)) == count


def idle_connections(db: Client) -> deque[Channel]:
    return db._caller.pool._idle


def let_them_age(db: Client, seconds: float) -> None:
    """As if nothing had been heard on the idle connections for so long."""
    for channel in idle_connections(db):
        channel.heard_s -= seconds


def test_a_connection_that_was_closed_while_idle_costs_no_call() -> None:
    with fake_server() as server, Client(server.fake.url) as db:
        for number in range(1, 4):
            db.heartbeat(number)
            server.cut()
        db.heartbeat(4)
        assert server.fake.counts["heartbeat"] == 4
        assert server.fake.connection_count == 4


def test_a_connection_that_was_silent_for_an_interval_has_to_answer_a_ping_first() -> None:
    with fake_server(heartbeat_interval_ms=400) as server, Client(server.fake.url) as db:
        let_them_age(db, 1)
        assert db.count() == 0
        assert server.fake.counts == {"hello": 1, "ping": 1, "count": 1}
        first = server.fake.peers[0]
        server.fake.script["ping"] = lambda peer, request: SILENCE if peer is first else "pong"
        let_them_age(db, 1)
        db.heartbeat(1)
        assert server.fake.connection_count == 2
        assert server.fake.counts["heartbeat"] == 1


def test_a_dead_server_costs_one_attempt_whatever_the_number_of_idle_connections() -> None:
    with fake_server(heartbeat_interval_ms=400) as server, Client(server.fake.url, timeout_s=30) as db:
        have_connections(server, db, 4)
        dead = list(server.fake.peers)
        server.fake.requests.clear()
        server.fake.script["count"] = lambda peer, request: SILENCE if peer in dead else 7
        assert db.count() == 7
        assert server.fake.counts == {"count": 2, "hello": 1}
        wait_until(lambda: len(server.fake.peers) == 1)


def test_connections_that_nobody_needs_any_more_are_closed() -> None:
    with fake_server() as server, Client(server.fake.url, timeout_s=30) as db:
        have_connections(server, db, 4)
        let_them_age(db, CLIENT_IDLE_MS_MAX / 1000 + 1)
        for _ in range(4):
            db.count()
        wait_until(lambda: len(server.fake.peers) == 1)
        assert server.fake.connection_count == 4


def test_connections_that_are_lost_together_are_one_loss() -> None:
    """Where there are several addresses, each loss moves on to the next: two of them would lead back to the first."""
    with fake_server() as first, fake_server() as second:
        db = Client(f"presence://{first.fake.address},{second.fake.address}", timeout_s=30)
        have_connections(first, db, 4)
        first.stop()
        for _ in range(8):
            db.count()
        assert second.fake.counts["count"] == 8
        assert second.fake.connection_count == 1
        db.close()


def test_states_are_told_in_order_and_what_goes_wrong_there_disturbs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    states: list[ConnectionState] = []

    def on_state(state: ConnectionState) -> None:
        states.append(state)
        assert db.state is state
        raise LookupError("a bug")

    with fake_server() as server:
        db = Client(server.fake.url, on_state=on_state)
        with db:
            db.count()
            server.cut()
            db.count()
    connecting, connected = ConnectionState.CONNECTING, ConnectionState.CONNECTED
    assert states == [connecting, connected, ConnectionState.IDLE, connecting, connected, ConnectionState.CLOSED]
    assert [record.getMessage() for record in caplog.records] == [f"on_state failed at {state}" for state in states]


# --- batches -------------------------------------------------------------------------------------------------------------


@contextmanager
def stubborn_server() -> Iterator[tuple[str, list[int]]]:
    """A server that reads nothing more before all of an answer is written; its address, and the ids in each request."""
    asked: list[int] = []

    def answer(request: Request, session: ServerSession) -> None:
        if request.command.name == "hello":
            limits = {"protocol": 1, "ttl_ms": 30_000, "tick_ms": 100, "heartbeat_interval_ms": 10_000}
            session.reply(request, limits)
        else:
            asked.append(len(request.ids))
            session.reply(request, [1_700_000_000_123] * len(request.ids))

    def serve_one() -> None:
        connection, _ = listener.accept()
        session = ServerSession()
        with connection:
            while data := connection.recv(65536):
                session.receive_data(data)
                while (request := session.next_request()) is not None:
                    answer(request, session)
                    connection.sendall(session.data_to_send())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_one)
        thread.start()
        yield f"presence://127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join()


def test_a_batch_does_not_wait_for_a_server_that_waits_for_the_client() -> None:
    """Both have more to say than the buffers between them hold."""
    with stubborn_server() as (url, asked), Client(url, timeout_s=30) as db:
        ids = [f"{number:x>120}" for number in range(300_000)]
        seen = db.last_seen(ids)
        assert len(seen) == len(ids)
        assert sum(asked) == len(ids)
        assert len(asked) > 8


def test_no_more_requests_wait_for_answers_than_a_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "CLIENT_IN_FLIGHT_MAX", 3)
    monkeypatch.setattr(coalesce, "IDS_PER_FRAME_MAX", 2)
    waiting: list[tuple[Peer, Request]] = []
    most = 0

    def answer_when_three_wait(peer: Peer, request: Request) -> object:
        nonlocal most
        waiting.append((peer, request))
        most = max(most, len(waiting))
        if len(waiting) == 3:
            for one, asked in waiting:
                one.session.reply(asked, len(asked.ids))
            waiting.clear()
        return SILENCE

    with fake_server() as server, Client(server.fake.url, timeout_s=30) as db:
        server.fake.script["heartbeat"] = answer_when_three_wait
        assert db.heartbeat_batch(range(60)) == 60
        assert server.fake.counts["heartbeat"] == 30
        assert most == 3


def test_a_batch_of_which_a_part_is_refused_tries_that_part_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "IDS_PER_FRAME_MAX", 2)
    with fake_server() as server, Client(server.fake.url, timeout_s=30) as db:
        refused: list[list[object]] = []

        def refuse_some(peer: Peer, request: Request) -> object:
            if len(server.fake.seen("heartbeat")) in (2, 4):
                refused.append(list(request.ids))
                raise Busy("full")
            return server.fake.usual(request)

        server.fake.script["heartbeat"] = refuse_some
        assert db.heartbeat_batch(range(10)) == 10
        asked = server.fake.seen("heartbeat")
        assert [list(request.ids) for request in asked[5:]] == refused
        assert [request.options.age_ms > 0 for request in asked] == [False] * 5 + [True] * 2
        assert server.fake.connection_count == 1


def test_a_batch_of_which_a_part_is_denied_leaves_the_connection_as_good_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "IDS_PER_FRAME_MAX", 2)
    with fake_server() as server, Client(server.fake.url, timeout_s=30) as db:

        def deny_one(peer: Peer, request: Request) -> object:
            if 4 in list(request.ids):
                raise Denied("not that one")
            return server.fake.usual(request)

        server.fake.script["status"] = deny_one
        with pytest.raises(Denied, match="not that one"):
            db.status(range(10))
        assert db.status([1]) == {1: False}
        assert server.fake.connection_count == 1
