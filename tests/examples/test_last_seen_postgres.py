"""`examples/last_seen_postgres`: whatever becomes of mirror, node and database, the table is right in the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from presencedb import Client, Follow, Id
from tests.examples.postgres import Postgres
from tests.examples.running import EXAMPLES, Example, run_example
from tests.support.process import ServerProcess
from tests.support.waiting import wait_until

PROGRAM: Final = "last_seen_postgres/mirror.py"
SCHEMA: Final = (EXAMPLES / "last_seen_postgres/schema.sql").read_text()
GROUP_COUNT: Final = 21
USERS: Final[list[Id]] = [*range(6_697), 2**64 - 1, "alice", "a-\N{GREEK SMALL LETTER PI} \\ '\" {,}"]
GRAIN: Final = timedelta(milliseconds=100)
NODE: Final = ("node", "--listen", "127.0.0.1:0", "--tick", "50")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres


class Tables:
    """What the mirror writes."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._run("drop table if exists last_seen, presencedb_feed")
        self._run(SCHEMA)

    @property
    def cursor(self) -> str | None:
        rows = self._run("select cursor from presencedb_feed")
        return rows[0][0] if rows else None

    @property
    def statuses(self) -> dict[str, bool | None]:
        return dict(self._run("select id, online from last_seen"))

    @property
    def times(self) -> dict[str, datetime | None]:
        return dict(self._run("select id, last_seen from last_seen"))

    def _run(self, statement: str) -> list[Any]:
        with psycopg.connect(self.where) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []


@pytest.fixture
def tables(server: Postgres) -> Tables:
    return Tables(server.where)


def mirror(folder: Path, tables: Tables, node: ServerProcess, *options: str) -> Example:
    return Example(folder, PROGRAM, tables.where, "--presence", node.url, *options)


def toggle(db: Client, truth: Follow, group: int) -> None:
    """A group comes, goes, and in two cases of three comes back or goes again; returns when the feed has told it.

    Nothing of it is hidden by a later change: what is not written stays missing.
    """
    ids = USERS[group::GROUP_COUNT]
    for number in range(2 + group % 3):
        count = db.heartbeat_batch(ids) if number % 2 == 0 else db.offline_batch(ids)
        for _ in range(count):
            next(truth)


def until_written(tables: Tables, truth: Follow) -> None:
    wait_until(lambda: tables.cursor == truth.cursor, what=f"the cursor {truth.cursor}")


def has_moved(tables: Tables, before: str | None) -> bool:
    """Whether a transaction was committed since."""
    return tables.cursor not in (None, before)


def assert_equal(tables: Tables, db: Client, groups: Iterable[int]) -> None:
    """The table and the node say the same of everybody in these groups, and the table knows nobody else."""
    ids = [user_id for group in groups for user_id in USERS[group::GROUP_COUNT]]
    statuses = db.status(ids)
    assert tables.statuses == {str(user_id): online for user_id, online in statuses.items()}
    times = tables.times
    for user_id, seen in db.last_seen(ids).items():
        written = times[str(user_id)]
        assert seen is not None
        assert written is not None
        assert abs(seen - written) <= GRAIN or (statuses[user_id] and written <= seen)


@pytest.mark.parametrize("groups_a_kill", [6, pytest.param(1, marks=pytest.mark.heavy)])
def test_killed_in_the_middle_of_20000_changes_the_table_equals_the_truth(
    tmp_path: Path, tables: Tables, groups_a_kill: int
) -> None:
    with ServerProcess(*NODE, "--ttl", "600", "--retention", "1d") as node, Client(node.url) as db, db.follow() as truth:
        with mirror(tmp_path, tables, node, "--batch", "100") as example:
            wait_until(lambda: tables.cursor, what="the first cursor")
            written = tables.cursor
            for group in range(GROUP_COUNT):
                toggle(db, truth, group)
                if group % groups_a_kill == 0:
                    wait_until(partial(has_moved, tables, written), what="a transaction")
                    example.kill()
                    written = tables.cursor
                    example.start()
            until_written(tables, truth)
            assert "Traceback" not in example.output
        assert int(str(truth.cursor).rpartition(".")[2]) >= 20_000
        assert_equal(tables, db, range(GROUP_COUNT))


def test_two_mirrors_disturb_each_other_and_not_the_table(tmp_path: Path, tables: Tables) -> None:
    (tmp_path / "second").mkdir()
    with ServerProcess(*NODE, "--ttl", "600", "--retention", "1d") as node, Client(node.url) as db, db.follow() as truth:
        with mirror(tmp_path, tables, node) as first, mirror(tmp_path / "second", tables, node) as second:
            wait_until(lambda: all("follows from" in one.output for one in (first, second)), what="both")
            for group in range(3):
                toggle(db, truth, group)
            wait_until(lambda: "is there another mirror?" in first.output + second.output, what="that they meet")
            until_written(tables, truth)
        assert_equal(tables, db, range(3))


def test_after_a_restart_of_the_node_the_table_is_brought_to_the_truth(tmp_path: Path, tables: Tables) -> None:
    with ServerProcess(*NODE, "--ttl", "600") as node, Client(node.url) as db:
        db.heartbeat("stays", "goes", 42)
        before = db.last_seen(["goes"])["goes"]
        with mirror(tmp_path, tables, node):
            wait_until(lambda: tables.statuses == {"stays": True, "goes": True, "42": True}, what="the first statuses")
    same_place = ("node", "--listen", node.ready["tcp"], "--ttl", "600")
    with ServerProcess(*same_place) as node, Client(node.url) as db, db.follow() as truth:
        db.heartbeat("stays", "comes")
        with mirror(tmp_path, tables, node):
            until_now = {"stays": True, "comes": True, "goes": False, "42": False}
            wait_until(lambda: tables.statuses == until_now, what="the statuses after the restart")
            assert tables.times["goes"] == before
            db.offline("comes")
            assert [next(truth).id for _ in range(3)][-1] == "comes"
            until_written(tables, truth)
            assert tables.statuses == until_now | {"comes": False}
        # While nobody mirrors it is started again, with another cursor.
    with ServerProcess(*same_place) as node, mirror(tmp_path, tables, node):
        wait_until(lambda: not any(tables.statuses.values()), what="that everybody is gone")


def test_a_timeout_gives_the_last_heartbeat_though_the_node_forgot_it(tmp_path: Path, tables: Tables) -> None:
    with ServerProcess(*NODE, "--ttl", "1") as node, Client(node.url) as db, mirror(tmp_path, tables, node) as example:
        wait_until(lambda: tables.cursor, what="the first cursor")
        db.heartbeat("alice")
        beat = db.last_seen(["alice"])["alice"]
        wait_until(lambda: tables.statuses == {"alice": False}, what="the timeout")
        seen = tables.times["alice"]
        assert beat is not None
        assert seen is not None
        assert abs(seen - beat) <= 3 * GRAIN
        example.ask_to_end()
        assert example.status() == 0


def test_it_waits_for_the_database(tmp_path: Path, server: Postgres, tables: Tables) -> None:
    with ServerProcess(*NODE, "--ttl", "600") as node, Client(node.url) as db, mirror(tmp_path, tables, node) as example:
        db.heartbeat("alice")
        wait_until(lambda: tables.statuses == {"alice": True}, what="the first status")
        server.stop()
        db.offline("alice")
        wait_until(lambda: "beginning again" in example.output, what="that it notices")
        server.start()
        wait_until(lambda: tables.statuses == {"alice": False}, what="the change")


def test_help_teaches_and_missing_tables_are_named(tmp_path: Path, server: Postgres) -> None:
    assert "schema.sql" in run_example(tmp_path, PROGRAM, "--help").stdout
    with psycopg.connect(server.where) as connection:
        connection.execute("drop table if exists last_seen, presencedb_feed")
    with ServerProcess(*NODE) as node:
        ended = run_example(tmp_path, PROGRAM, server.where, "--presence", node.url)
    assert ended.returncode == 1
    assert 'relation "presencedb_feed" does not exist' in ended.stderr
    assert "Traceback" not in ended.stderr
