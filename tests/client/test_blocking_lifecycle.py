"""Opening, closing and interrupting the blocking client: whatever happens where, nothing leaks and it stays usable."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from presencedb import Busy, Client, ClientClosed, ConnectionState, Id
from presencedb.client.blocking_keep_online import THREAD_NAME
from presencedb.protocol.messages import Request
from tests.client.fake_server import SILENCE, Peer
from tests.client.loop_thread import FakeServerThread, LoopThread, fake_server, node_in_thread
from tests.client.running import open_fd_count, self_signed, url_of
from tests.support.process import clean_environment
from tests.support.sources import ROOT
from tests.support.waiting import wait_until

INTERVAL_MS = 60


class Interrupted(BaseException):
    """What the signal handler raises here: as little expected as a KeyboardInterrupt."""


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Gives a function by which any thread interrupts the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No thread and no open file more than before."""
    with LoopThread():
        pass  # what uvloop opens once in a process is open now
    gc.collect()
    threads, fds = set(threading.enumerate()), open_fd_count()
    yield
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= threads, what="no thread more than before")
    wait_until(lambda: open_fd_count() <= fds, what="no open file more than before")


CALLS: dict[str, Callable[[Client], Any]] = {
    "heartbeat": lambda db: db.heartbeat(1, 2),
    "heartbeat_batch": lambda db: db.heartbeat_batch(range(100_001)),
    "status": lambda db: db.status([1, 2]),
    "online": lambda db: db.online(),
    "ping": lambda db: db.ping(),
    "follow": lambda db: db.follow().__enter__(),
}


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_interrupted_leaves_a_usable_client(name: str) -> None:
    with interruptible() as interrupt, fake_server() as server, Client(server.fake.url, timeout_s=30) as db:

        def interrupt_it(peer: Peer, request: Request) -> object:
            interrupt()
            return SILENCE

        method = name.partition("_")[0]
        server.fake.script[method] = interrupt_it
        with pytest.raises(Interrupted):
            CALLS[name](db)
        del server.fake.script[method]
        wait_until(lambda: all(request.command.name != method for peer in server.fake.peers for request in peer.seen))
        CALLS[name](db)
        assert server.fake.counts[method] >= 2


@pytest.mark.usefixtures("nothing_is_left")
def test_connecting_can_be_interrupted() -> None:
    with interruptible() as interrupt, fake_server() as server:

        def interrupt_it(peer: Peer, request: Request) -> object:
            interrupt()
            return SILENCE

        server.fake.script["hello"] = interrupt_it
        with pytest.raises(Interrupted), Client(server.fake.url):
            raise AssertionError("entered")
        db = Client(server.fake.url)
        with pytest.raises(Interrupted):
            db.count()
        del server.fake.script["hello"]
        assert db.count() == 0
        db.close()


@contextmanager
def calling(*calls: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Calls that go on in threads."""
    with ThreadPoolExecutor(len(calls)) as threads:
        yield [threads.submit(call) for call in calls]


def are_closed(futures: list[Future[Any]]) -> bool:
    return [type(future.exception()) for future in futures] == [ClientClosed] * len(futures)


@pytest.mark.usefixtures("nothing_is_left")
def test_closing_fails_every_call_that_waits_for_an_answer() -> None:
    with fake_server() as server:
        db = Client(server.fake.url, timeout_s=60)
        for method in ("count", "heartbeat", "offline"):
            server.fake.script[method] = lambda peer, request: SILENCE
        with calling(db.count, lambda: db.heartbeat(1), lambda: db.offline_batch([1]), db.count) as calls:
            wait_until(lambda: len(server.fake.requests) == 8)
            db.close()
            assert are_closed(calls)
        wait_until(lambda: not server.fake.peers)


@pytest.mark.usefixtures("nothing_is_left")
def test_closing_fails_every_call_that_waits_for_a_connection(tmp_path: Path) -> None:
    _, context = self_signed(tmp_path)
    with fake_server() as server:
        server.fake.script["hello"] = lambda peer, request: SILENCE
        plain = Client(server.fake.url, timeout_s=60, connect_timeout_s=60)
        close_while_it_connects(server, plain)
        tls = f"presence+tls://{server.fake.address}"  # the server takes the handshake for a frame that never ends
        close_while_it_connects(server, Client(tls, ssl_context=context, timeout_s=60, connect_timeout_s=60))


def close_while_it_connects(server: FakeServerThread, db: Client) -> None:
    count = server.fake.connection_count
    with calling(db.connect, db.count, lambda: db.heartbeat(1), lambda: next(db.follow())) as calls:
        wait_until(lambda: server.fake.connection_count == count + 2)  # one for the calls, one for the feed
        db.close()
        assert [type(call.exception()) for call in calls] == [ClientClosed] * 3 + [StopIteration]


@pytest.mark.usefixtures("nothing_is_left")
def test_closing_fails_a_call_that_waits_to_try_again() -> None:
    with fake_server() as server:
        db = Client(server.fake.url, timeout_s=60)

        def refuse(peer: Peer, request: Request) -> None:
            raise Busy("full")

        server.fake.script["count"] = refuse
        with calling(db.count) as calls:
            wait_until(lambda: server.fake.counts["count"] >= 4)
            db.close()
            assert are_closed(calls)
    db = Client(server.fake.url, timeout_s=60)  # nobody is there
    with calling(db.count, db.count) as calls:
        wait_until(lambda: db.state is ConnectionState.CONNECTING)
        db.close()
        assert are_closed(calls)


def test_a_closed_client_says_so() -> None:
    with fake_server() as server:
        db = Client(server.fake.url)
        db.close()
        db.close()
        calls: list[Callable[[], Any]] = [
            *(db.connect, db.count, db.ping, db.hello, db.heartbeat, db.follow, db.keep_online),
            *(lambda: db.status([]), lambda: db.heartbeat(1), lambda: db.watch([1])),
        ]
        for call in calls:
            with pytest.raises(ClientClosed):
                call()
        assert db.state is ConnectionState.CLOSED
        assert server.fake.connection_count == 0


@pytest.mark.usefixtures("nothing_is_left")
def test_clients_that_come_and_go_leave_nothing_closed_or_not() -> None:
    with fake_server() as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        for index in range(200):
            db = Client(server.fake.url)
            db.heartbeat(index)
            if index % 3 == 0:
                feed = db.follow()
                feed.__enter__()
                if index % 2:
                    del feed
            if index % 5 == 0:
                db.keep_online(index).__enter__()
            if index % 2:
                db.close()
        del db, feed
        gc.collect()
        wait_until(lambda: not server.fake.peers)


def test_what_was_made_by_a_client_keeps_it_open() -> None:
    with fake_server() as server:
        with Client(server.fake.url).keep_online(1):
            gc.collect()
            changes = Client(server.fake.url).follow()
            with changes:
                gc.collect()
                server.tell("c1", (1, True, 1_700_000_000_123, "heartbeat"))
                assert next(changes).id == 1
        assert server.fake.counts["heartbeat"] == 1


# --- keep_online ---------------------------------------------------------------------------------------------------------


def beats_of(server: FakeServerThread, user_id: Id) -> int:
    return sum(user_id in list(request.ids) for request in server.fake.seen("heartbeat"))


def beats_are_more_than(server: FakeServerThread, count: int) -> bool:
    return beats_of(server, 1) > count


def beating_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


@pytest.mark.usefixtures("nothing_is_left")
def test_one_thread_beats_for_all_blocks_and_ends_with_the_last() -> None:
    with fake_server(heartbeat_interval_ms=INTERVAL_MS) as server, Client(server.fake.url) as db:
        with db.keep_online("stays"):
            for number in range(100):
                with db.keep_online(number, "stays"):
                    pass
            assert len(beating_threads()) == 1
            server.fake.requests.clear()
            wait_until(lambda: len(server.fake.seen("heartbeat")) >= 3)
            assert {user_id for request in server.fake.seen("heartbeat") for user_id in request.ids} == {"stays"}
        wait_until(lambda: not beating_threads())
        with db.keep_online("again"):
            wait_until(lambda: beats_of(server, "again") >= 2)
    assert server.fake.connection_count == 1


@pytest.mark.usefixtures("nothing_is_left")
def test_closing_the_client_ends_the_beat() -> None:
    with fake_server(heartbeat_interval_ms=INTERVAL_MS) as server:
        db = Client(server.fake.url)
        with db.keep_online(1, sign_off=False):
            wait_until(lambda: beats_of(server, 1) >= 2)
            db.close()
            assert not beating_threads()


def test_a_lost_connection_is_made_up_for_at_once_whoever_notices() -> None:
    """Not an interval later: on another server the users would be offline meanwhile."""
    with fake_server(heartbeat_interval_ms=600_000) as server, Client(server.fake.url) as db, db.keep_online(1):
        while beats_of(server, 1) < 4:
            before = beats_of(server, 1)
            server.cut()
            wait_until(partial(beats_are_more_than, server, before))


def test_a_sign_off_is_not_overtaken_by_a_beat() -> None:
    with fake_server(heartbeat_interval_ms=INTERVAL_MS) as server, Client(server.fake.url, timeout_s=30) as db:
        held: list[tuple[Peer, Request]] = []

        def hold_the_second(peer: Peer, request: Request) -> object:
            if len(server.fake.seen("heartbeat")) == 2:
                held.append((peer, request))
                return SILENCE
            return server.fake.usual(request)

        server.fake.script["heartbeat"] = hold_the_second
        block = db.keep_online(1, sign_off=True)
        block.__enter__()
        wait_until(lambda: held)
        with calling(lambda: block.__exit__(None, None, None)) as (leaving,):
            wait_until(lambda: not db._keeper._beats)
            assert server.fake.counts["offline"] == 0
            server.loop.call(held[0][0].session.reply, held[0][1], server.fake.usual(held[0][1]))
            server.loop.call(held[0][0].flush)
            leaving.result()
        assert server.fake.requests[-1].command.name == "offline"
        assert not server.fake.online


# --- forks ---------------------------------------------------------------------------------------------------------------


def test_parent_and_child_go_on_after_a_fork() -> None:
    with node_in_thread() as node:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.client.blocking_fork_script", url_of(node)],
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    assert (done.stderr, done.stdout, done.returncode) == ("", "fine\n", 0)


def test_a_given_socket_is_closed_when_it_is_of_no_use() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(ConnectionError):
        Client(connect=lambda timeout_s: ours).connect()
    assert ours.fileno() == -1
    assert os.getpid()
