"""`follow` and `watch` of the blocking client: threads that wait, wake and drive, over connections that fail."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from presencedb import CallTimeout, Change, Client, ClientClosed, ConnectionState, GapError, Id, TooLarge
from presencedb.client.blocking_feed import Feed
from presencedb.protocol.messages import Request
from tests.client.fake_server import SILENCE, Peer
from tests.client.loop_thread import FakeServerThread, fake_server, node_in_thread
from tests.client.running import url_of
from tests.support.proxy import Direction, HostileProxy
from tests.support.waiting import wait_until

AT_MS = 1_700_000_000_123


def online(*ids: Id) -> list[tuple[Id, bool | None, int, str]]:
    return [(user_id, True, AT_MS, "heartbeat") for user_id in ids]


def watchable(server: FakeServerThread) -> None:
    """Have it answer `watch` and `unwatch`: everybody is offline at the beginning."""
    server.fake.script["watch"] = lambda peer, request: [request.cursor or "start", [False] * len(request.ids)]
    server.fake.script["unwatch"] = lambda peer, request: len(request.ids)


def waits(feed: Feed[Any]) -> bool:
    """Whether a thread drives the feed, on a connection that tells."""
    return feed._stream._is_driven and feed.state is ConnectionState.CONNECTED


def test_get_gives_none_when_nothing_came_in_time() -> None:
    with fake_server() as server, Client(server.fake.url) as db, db.follow() as changes:
        assert changes.get(0) is None
        assert changes.get(0.05) is None
        assert changes.get(-1) is None
        server.tell("c1", *online(1, 2))
        first = changes.get()
        assert first is not None
        assert first.id == 1
        assert changes.get(0) == first._replace(id=2)
        changes.close()
        with pytest.raises(ClientClosed):
            changes.get(0)


@pytest.mark.parametrize("close", [Feed.close, lambda feed: feed._owner.close()], ids=["feed", "client"])
def test_closing_from_another_thread_ends_a_wait(close: Callable[[Any], None]) -> None:
    with fake_server() as server, Client(server.fake.url) as db, ThreadPoolExecutor(4) as threads:
        watchable(server)
        feed = db.watch([1])
        iterating = [threads.submit(list[Change], feed) for _ in range(2)]
        getting = threads.submit(feed.get)
        wait_until(lambda: waits(feed))
        close(feed)
        assert [future.result() for future in iterating] == [[], []]
        assert isinstance(getting.exception(), ClientClosed)
        assert feed.state is ConnectionState.CLOSED
        with pytest.raises(ClientClosed):
            feed.add([2])
        with pytest.raises(ClientClosed), feed:
            raise AssertionError("entered")
        wait_until(lambda: server.fake.connection_count == 2 and len(server.fake.peers) < 2)


def test_users_come_and_go_while_another_thread_waits_for_changes() -> None:
    with fake_server() as server, Client(server.fake.url) as db, ThreadPoolExecutor(1) as threads:
        watchable(server)
        with db.watch([1]) as changes:
            waiting = threads.submit(next, changes)
            wait_until(lambda: waits(changes))
            changes.add(["2", 3])
            assert changes.statuses == {1: False, 2: False, 3: False}
            changes.remove([1])
            assert changes.statuses == {2: False, 3: False}
            server.tell("c1", *online(1, 3))
            assert waiting.result().id == 3
            assert changes.statuses == {2: False, 3: True}


def test_users_come_and_go_while_nobody_else_waits() -> None:
    with node_in_thread() as node, Client(url_of(node), timeout_s=30) as db:
        db.heartbeat(2)
        changes = db.watch([1])
        changes.add([2])  # this connects
        assert changes.statuses == {1: False, 2: True}
        db.heartbeat(1)
        changes.remove([2])
        db.offline(2)
        db.offline(1)
        assert [(change.id, change.online) for change in (next(changes), next(changes))] == [(1, True), (1, False)]
        assert changes.get(0) is None
        changes.close()


def test_an_add_that_gets_no_answer_has_the_timeout_of_a_call() -> None:
    with fake_server() as server, Client(server.fake.url, timeout_s=0.3) as db:
        watchable(server)
        with db.watch([1]) as changes:
            server.fake.script["watch"] = lambda peer, request: SILENCE
            with pytest.raises(CallTimeout, match="did not answer watch within"):
                changes.add([2])
            server.tell("c1", *online(1))
            assert next(changes).id == 1


def test_too_many_users_change_nothing() -> None:
    with node_in_thread() as node, Client(url_of(node), timeout_s=30) as db, db.watch(range(9_999)) as changes:
        with pytest.raises(TooLarge):
            changes.add([20_000, 20_001])
        changes.add([20_000])
        assert len(changes.statuses) == 10_000


def test_each_change_goes_to_one_of_the_threads_that_wait() -> None:
    with fake_server() as server, Client(server.fake.url) as db, db.follow() as changes:

        def take(count: int) -> list[Id]:
            return [next(changes).id for _ in range(count)]

        with ThreadPoolExecutor(4) as threads:
            taking = [threads.submit(take, 250) for _ in range(4)]
            for number in range(100):
                server.tell(f"c{number}", *online(*range(number * 10, number * 10 + 10)))
            taken = [future.result() for future in taking]
        assert sorted(user_id for ids in taken for user_id in ids) == list(range(1000))
        assert all(ids == sorted(ids) for ids in taken)


def test_calls_go_on_beside_feeds_that_wait() -> None:
    with node_in_thread() as node, Client(url_of(node), timeout_s=30) as db, db.follow() as everybody:
        with db.watch(range(100)) as some, ThreadPoolExecutor(2) as threads:
            following = threads.submit(lambda: [next(everybody).id for _ in range(200)])
            watching = threads.submit(lambda: [next(some).id for _ in range(100)])
            for user_id in range(200):
                db.heartbeat(user_id)
            assert following.result() == list(range(200))
            assert watching.result() == list(range(100))
        assert set(some.statuses.values()) == {True}


def test_an_interrupted_wait_can_be_taken_up_again() -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with fake_server() as server, Client(server.fake.url) as db, db.follow() as changes:
            server.tell("c1", *online(1))
            assert next(changes).id == 1
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            with pytest.raises(Interrupted):
                next(changes)
            timer.join()
            with ThreadPoolExecutor(1) as threads:
                waiting = threads.submit(next, changes)
                wait_until(lambda: len(server.fake.seen("follow")) == 2)
                wait_until(lambda: len(server._tellers()) == 1)
                server.tell("c2", *online(2))
                assert waiting.result().id == 2
            assert [request.cursor for request in server.fake.seen("follow")] == [None, "c1"]
    finally:
        signal.signal(signal.SIGUSR1, before)


def has_pinged(server: FakeServerThread, count: int) -> bool:
    return server.fake.counts["ping"] == count


def test_the_thread_that_waits_pings() -> None:
    with fake_server(heartbeat_interval_ms=400) as server, Client(server.fake.url) as db, db.follow() as changes:
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(next, changes)
            wait_until(lambda: server.fake.counts["ping"] >= 2)
            server.tell("c1", *online(1))
            assert waiting.result().id == 1
        assert server.fake.counts["follow"] == 1


def test_a_reader_who_looks_seldom_does_not_take_its_own_silence_for_the_servers() -> None:
    with fake_server(heartbeat_interval_ms=400) as server, Client(server.fake.url) as db, db.follow() as changes:
        for number in range(4):
            liveness = changes._stream._liveness
            assert liveness is not None
            liveness.hear(liveness._heard_s - 40)  # as if it had been away for so long
            assert changes.get(0) is None
            wait_until(partial(has_pinged, server, number + 1))
            assert changes.get(0.01) is None
        assert server.fake.counts["follow"] == 1


def test_a_feed_that_was_left_is_closed_without_a_warning() -> None:
    with fake_server() as server, Client(server.fake.url) as db:
        watchable(server)

        def look_once() -> None:
            for feed in (db.follow(), db.watch([1])):
                assert feed.get(0.01) is None

        look_once()
        gc.collect()
        wait_until(lambda: len(server.fake.peers) == 1)
        assert not db._caller.feeds


def test_resync_gives_out_what_was_missed() -> None:
    with fake_server() as server, Client(server.fake.url) as db:
        watchable(server)
        with db.watch([1, 2], on_gap="resync") as changes:
            server.loop.call(server.teller().notify, "gap", "c9", [True, None])
            first, second = next(changes), next(changes)
            assert (first.id, first.online, first.at, first.reason) == (1, True, None, "known")
            assert (second.id, second.online, second.reason) == (2, None, "unknown")
            assert changes.cursor == "c9"
        with db.watch([1, 2]) as changes:
            server.loop.call(server.teller().notify, "gap", "c9", [True, None])
            with pytest.raises(GapError):
                next(changes)
            assert list(changes) == []


@contextmanager
def behind_a_proxy(**settings: Any) -> Iterator[tuple[Client, HostileProxy, Client]]:
    """A node, a client of it, and one that goes through a hostile network."""
    with node_in_thread(**settings) as node, Client(url_of(node), timeout_s=30) as writer:
        assert node.tcp_address is not None
        with HostileProxy(node.tcp_address) as proxy, Client(proxy.url, timeout_s=30) as db:
            yield writer, proxy, db


@pytest.mark.parametrize("kind", ["follow", "watch"])
def test_every_change_once_through_a_network_that_cuts_and_splits(kind: str) -> None:
    with behind_a_proxy() as (writer, proxy, db):
        feed: Feed[Any] = db.follow() if kind == "follow" else db.watch(range(600))
        with feed:
            proxy.split(7)
            seen: list[Id] = []
            for start in range(0, 600, 100):
                writer.heartbeat_batch(range(start, start + 100))
                seen += [next(feed).id for _ in range(50)]
                proxy.cut(reset=start % 200 == 0)
                seen += [next(feed).id for _ in range(50)]
            assert seen == list(range(600))


def test_a_half_open_watch_is_noticed_and_goes_on_where_it_was() -> None:
    with behind_a_proxy(ttl_ms=1_800) as (writer, proxy, db), db.watch([1]) as changes:
        proxy.stall(Direction.TO_CLIENT)
        writer.heartbeat(1)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(next, changes)
            wait_until(lambda: changes.state is not ConnectionState.CONNECTED)
            proxy.resume()
            assert waiting.result().id == 1
        assert changes.statuses == {1: True}


def test_calls_through_a_network_that_delays() -> None:
    with behind_a_proxy() as (_, proxy, db):
        proxy.delay(0.01)
        proxy.split(16)
        db.heartbeat(*range(20))
        assert set(db.status(range(20)).values()) == {True}


def test_a_first_ask_that_is_refused_for_good_is_raised() -> None:
    with fake_server() as server, Client(server.fake.url) as db:

        def refuse(peer: Peer, request: Request) -> None:
            raise TooLarge("11 watched ids, at most 10")

        server.fake.script["watch"] = refuse
        with pytest.raises(TooLarge, match="at most 10"), db.watch(range(11)):
            raise AssertionError("entered")
        wait_until(lambda: len(server.fake.peers) == 1)
