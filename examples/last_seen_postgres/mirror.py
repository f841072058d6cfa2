"""Keeps a table of PostgreSQL at what presencedb says: who is online, and when everybody was last seen.

How it writes each change exactly once, from which a mirror in any other database with transactions can be made:

- The cursor of the feed is a row that is written in the same transaction as the changes before it. A process that is killed
  has written both or neither, and the next one goes on at the cursor.
- A transaction moves the cursor only from where this process found it. Should a second process write the same feed, or one
  that was thought dead still commit, one of the two fails, and begins again with what the database says.
- After a gap, and at the very first start, the table is brought to the truth in one transaction, by a walk over everybody
  online. The feed is open before it begins; what changes meanwhile comes out of it afterwards, and ends in the same state.

It uses the blocking client: a loop that takes what there is, writes it and begins again needs no asyncio.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import psycopg

import presencedb

DESCRIPTION: Final = """\
Follow presencedb, and keep the table last_seen of a PostgreSQL database at what it says.

The tables are in schema.sql. A row has the id as text; online, null where it can not be told; and last_seen. While somebody
is online, last_seen is when that began, or a little later; think of it as now."""
EPILOG: Final = """\
example:
  psql -d app -f schema.sql
  python mirror.py "dbname=app"

SIGTERM ends it between two transactions. It may be killed at any time as well: the next start goes on exactly where the last
transaction ended. For the last heartbeat of users that went while nobody followed, run presencedb with --retention."""

# One statement with an array for each column, in binary: 210,000 rows a second in batches of 1,000, where executemany made
# 120,000, and COPY into a temporary table with an INSERT from there 90,000 as text and 140,000 in binary.
UPSERT: Final = """\
insert into last_seen (id, online, last_seen, cursor)
select id, online, last_seen, %s from unnest(%b::text[], %b::boolean[], %b::timestamptz[]) as told (id, online, last_seen)
on conflict (id) do update set
    online = excluded.online, last_seen = greatest(last_seen.last_seen, excluded.last_seen), cursor = excluded.cursor"""
MOVE_CURSOR: Final = """\
insert into presencedb_feed (name, cursor) values (%s, %s)
on conflict (name) do update set cursor = excluded.cursor where presencedb_feed.cursor = %s"""
READ_CURSOR: Final = "select cursor from presencedb_feed where name = %s"
NOT_SEEN_ONLINE: Final = "select id from last_seen where online is distinct from false and cursor <> %s"

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
WAIT_S: Final = 0.5
"""How long to wait for a change before looking for a signal."""
BACKOFF_S: Final = 0.25
BACKOFF_S_MAX: Final = 10.0

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

log: Final = logging.getLogger("mirror")


class Ended(Exception):
    """A signal told this process to end."""


class CursorMoved(Exception):
    """Somebody else wrote to the tables."""


PASSING: Final = (
    CursorMoved,
    psycopg.OperationalError,
    presencedb.ServerError,
    presencedb.ConnectError,
    presencedb.CallTimeout,
)
"""What may be over in a moment."""


class Mirror:
    """One feed and its tables, over one connection to the database."""

    def __init__(self, db: presencedb.Client, connection: Connection, feed_name: str, batch_size: int) -> None:
        self._db = db
        self._connection = connection
        self._feed_name = feed_name
        self._batch_size = batch_size
        self._ttl = timedelta(milliseconds=db.hello().ttl_ms)
        row = connection.execute(READ_CURSOR, [feed_name]).fetchone()
        self._cursor: str | None = None if row is None else row[0]
        """Where the tables are."""

    def run(self) -> None:
        """Write what happens, for ever.

        Raises:
            Ended: by a signal.
            CursorMoved: somebody else writes too; begin again with another `Mirror`.
            psycopg.Error, presencedb.Error: either server refuses, or is away.
        """
        cursor = self._cursor
        while True:
            try:
                self._follow(cursor)
            except presencedb.GapError as error:
                log.warning("changes were missed, the table is brought to the truth: %s", error)
                cursor = None

    def _follow(self, cursor: str | None) -> None:
        with self._db.follow(cursor) as changes:
            if cursor is None:
                self._resync(cursor_of(changes))
            log.info("the table follows from %s", self._cursor)
            for after, batch in batches(changes, self._batch_size):
                with self._connection.transaction():
                    self._write(after, batch)
                    self._move(after)

    def _write(self, cursor: str, changes: Sequence[presencedb.Change]) -> None:
        last = {change.id: change for change in changes}  # of several changes of a user the last one counts
        seen = self._db.last_seen(last)
        times = [seen[change.id] or self._seen_by(change) for change in last.values()]
        self._upsert(cursor, {change.id: change.online for change in last.values()}, times)

    def _seen_by(self, change: presencedb.Change) -> datetime | None:
        """When somebody was last seen, as far as a change tells: all there is, if presencedb forgets who is offline."""
        return change.at - self._ttl if change.at is not None and change.reason == "timeout" else change.at

    def _upsert(self, cursor: str, statuses: Mapping[presencedb.Id, bool | None], times: Sequence[datetime | None]) -> None:
        self._connection.execute(UPSERT, [cursor, list(map(str, statuses)), list(statuses.values()), times])

    def _move(self, cursor: str) -> None:
        moved = self._connection.execute(MOVE_CURSOR, [self._feed_name, cursor, self._cursor])
        if moved.rowcount != 1:
            raise CursorMoved(f"the feed {self._feed_name!r} is not at {self._cursor} any more: is there another mirror?")
        self._cursor = cursor

    def _resync(self, cursor: str) -> None:
        """Bring the table to the truth. It may be some changes ahead of the cursor: they come again and change nothing."""
        with self._connection.transaction():
            page: str | None = None
            while True:
                page, ids = self._db.online(page, limit=self._batch_size)
                self._write_known(cursor, dict.fromkeys(ids, True))
                if page is None:
                    break
            with self._connection.cursor(name="not_seen_online") as not_seen:
                not_seen.execute(NOT_SEEN_ONLINE, [cursor])
                while rows := not_seen.fetchmany(self._batch_size):
                    self._write_known(cursor, self._db.status([row[0] for row in rows]))
            self._move(cursor)

    def _write_known(self, cursor: str, statuses: Mapping[presencedb.Id, bool | None]) -> None:
        end_if_told()
        seen = self._db.last_seen(statuses)
        self._upsert(cursor, statuses, [seen[user_id] for user_id in statuses])


def batches(changes: presencedb.Follow, size: int) -> Iterator[tuple[str, list[presencedb.Change]]]:
    """What the feed has to give, in lists of about `size`, each with the cursor after it.

    The feed comes in portions with one cursor each, of up to 4,096 changes. A list ends where a portion ends, so it may be
    longer than `size` by nearly a portion.

    Raises:
        Ended: by a signal.
        GapError: changes were missed. Those before were not given out, if they were part of a list; the gap covers them.
    """
    batch: list[presencedb.Change] = []
    while True:
        before = changes.cursor
        change = changes.get(timeout_s=0 if batch else WAIT_S)
        if change is not None:
            batch.append(change)
        is_whole = change is None or changes.cursor != before  # the cursor moves with the last change of a portion
        if batch and is_whole and (change is None or len(batch) >= size):
            yield cursor_of(changes), batch
            batch = []
        if not batch:
            end_if_told()


def cursor_of(changes: presencedb.Follow) -> str:
    """The cursor of a feed that has begun."""
    assert changes.cursor is not None
    return changes.cursor


def end_if_told(wait_s: float = 0) -> None:
    """Look for a signal, for this long.

    Raises:
        Ended: there was one.
    """
    if signal.sigtimedwait(ENDING, wait_s) is not None:
        raise Ended


def mirror(options: argparse.Namespace, db: presencedb.Client) -> None:
    """Mirror until told to end; whatever passes is waited for.

    Raises:
        Ended: by a signal.
        presencedb.RequestError: presencedb does not let this client follow.
        psycopg.Error: the database is there, and refuses: the tables are missing, say.
    """
    failure_count = 0
    while True:
        try:
            with psycopg.connect(options.database, autocommit=True) as connection:
                one = Mirror(db, connection, options.feed, options.batch)
                failure_count = 0
                one.run()
        except PASSING as error:
            log.warning("beginning again: %s", error)
            # Full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
            end_if_told(random.uniform(0, min(BACKOFF_S_MAX, BACKOFF_S * 2.0**failure_count)))  # noqa: S311 - for jitter
            failure_count = min(failure_count + 1, 30)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", help='where the tables are: "dbname=app", or postgresql://user@host/app')
    parser.add_argument("--presence", default="presence://127.0.0.1:7411", help="the server to follow (%(default)s)")
    parser.add_argument("--token-file", help="has the token, where the server asks for one")
    parser.add_argument("--feed", default="presencedb", help="the name of the row with the cursor (%(default)s)")
    parser.add_argument("--batch", type=int, default=1000, help="changes in a transaction, about (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Run; what is wrong with the options, the rights or the tables is one line and the exit status 1."""
    options = read_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Signals wait until they are asked for, so that none ends a transaction half way.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        db = presencedb.Client(options.presence, token_file=options.token_file, client_name="last-seen-mirror")
        try:
            mirror(options, db)
        finally:
            db.close()
    except Ended:
        log.info("ended")
    except (OSError, psycopg.Error, presencedb.Error) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
