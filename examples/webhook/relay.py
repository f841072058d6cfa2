"""Tells a web service who comes and goes: follows presencedb, and POSTs the changes to a URL.

How it keeps its promises, from which a relay to anything else can be made:

- **At least once.** A batch is written to the state file, with the cursor behind it, before it is sent. Whoever kills this
  process in between finds the same batch sent again, byte for byte, with the same `webhook-id`.
- **In order.** One request at a time; the next one goes out when this one was taken.
- **Bounded memory.** While the receiver is slow nothing more is taken from the feed, so presencedb holds what happens until
  it is asked for. If that is longer than it can keep, the answer is a gap.
- **No silent gap.** After a gap, and at the very first start, comes `presence.reset`, which voids all that was told before,
  and then everybody who is online.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import contextlib
import fcntl
import hashlib
import hmac
import itertools
import json
import logging
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

import presencedb

DESCRIPTION: Final = """\
Follow presencedb and POST every change of status to a URL.

Each request is a JSON object: {"type": "presence.changes", "data": [...]}, where data has at least one of
{"id": "42", "online": true, "at": "2026-01-31T12:00:00.250+00:00", "reason": "heartbeat"}. "online" is null where it can
not be told, "at" is null where the moment was missed. {"type": "presence.reset", "data": []} says: forget what you were
told, nobody is online but those who are named from here on.

Requests are signed as Standard Webhooks says (https://www.standardwebhooks.com), for which there are libraries: headers
webhook-id, webhook-timestamp and webhook-signature. A request that was not answered with a status of 2xx is sent again, so
one may come twice: then it has the same webhook-id, and is to be left out."""
EPILOG: Final = """\
example:
  echo "whsec_$(openssl rand -base64 32)" > secret
  python receiver.py --secret-file secret &
  python relay.py http://127.0.0.1:8000/presence --secret-file secret --state state.json

SIGTERM ends it, after the answer that it waits for. Keep the state file: with it the next start goes on exactly where this
one ended. Without it everybody who is online is told anew."""

KEY_PREFIX: Final = "whsec_"
BACKOFF_S: Final = 0.25
BACKOFF_S_MAX: Final = 30.0

log: Final = logging.getLogger("relay")


@dataclass(frozen=True)
class Batch:
    """One request: what it is known by, and what it says."""

    key: str
    body: str


@dataclass(frozen=True)
class Scan:
    """A walk over everybody online: its name, the page to ask for next, and that page's number."""

    name: str
    page: str | None
    number: int


@dataclass(frozen=True)
class State:
    """What the next start has to know: the batch to deliver first, and where to go on after it.

    Attributes:
        cursor: of the feed; None: it has not begun.
        scan: to finish before the feed is read; None: there is none.
        batch: taken, and perhaps not delivered yet.
    """

    cursor: str | None = None
    scan: Scan | None = None
    batch: Batch | None = None


class StateFile:
    """The state on disk, replaced as a whole, for one process at a time."""

    def __init__(self, path: Path) -> None:
        """Lock the file.

        Raises:
            OSError: the folder is not there or not writable, or another process has the lock.
        """
        self._path = path
        self._next = path.with_name(path.name + ".next")
        self._lock = path.with_name(path.name + ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise

    def load(self) -> State:
        """What was saved last; a fresh state where nothing was."""
        if not self._path.exists():
            return State()
        saved = json.loads(self._path.read_text())
        scan, batch = saved["scan"], saved["batch"]
        return State(saved["cursor"], Scan(**scan) if scan else None, Batch(**batch) if batch else None)

    def save(self, state: State) -> None:
        """Replace the file: after a crash, of the machine too, it is the old one or the new one."""
        with self._next.open("w") as file:
            json.dump(asdict(state), file)
            file.flush()
            os.fsync(file.fileno())
        self._next.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()


class Receiver:
    """The web service at the other end."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: bytes) -> None:
        self._session = session
        self._url = url
        self._secret = secret

    async def post(self, batch: Batch) -> str | None:
        """Send a batch once; gives why it was not taken, or None: it was."""
        body, timestamp = batch.body.encode(), str(int(time.time()))
        signed = b".".join((batch.key.encode(), timestamp.encode(), body))
        signature = base64.b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode()
        headers = {
            "content-type": "application/json",
            "webhook-id": batch.key,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }
        try:
            # A redirect would turn the POST into a GET, so it counts as a failure.
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return None if 200 <= response.status < 300 else f"status {response.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return str(error) or type(error).__name__


class Relay:
    """Takes batches from presencedb and brings them to a receiver, one after the other, for ever."""

    def __init__(self, db: presencedb.AsyncClient, receiver: Receiver, file: StateFile, batch_size: int) -> None:
        self._db = db
        self._receiver = receiver
        self._file = file
        self._batch_size = batch_size
        self._state = file.load()
        self._failure_count = 0

    async def run(self) -> None:
        """Go on where the state says; ends by being cancelled.

        Raises:
            RequestError: presencedb does not let this client follow.
        """
        try:
            await self._deliver()
            while True:
                try:
                    await self._follow()
                except presencedb.GapError as error:
                    log.warning("changes were missed, everybody online is told anew: %s", error)
                    self._state = State()
                except (presencedb.ServerError, presencedb.ConnectError, presencedb.CallTimeout) as error:
                    log.warning("presencedb: %s", error)
                    await back_off(self._failure_count)
                    self._failure_count += 1
        finally:
            if self._state.batch is None:
                self._file.save(self._state)

    async def _follow(self) -> None:
        # The feed is open before the scan begins and while it lasts, so that nothing falls in between.
        async with self._db.follow(self._state.cursor) as changes:
            self._failure_count = 0
            if self._state.cursor is None:
                await self._reset(changes.cursor)
            while self._state.scan is not None:
                await self._tell_page(self._state.scan)
            async for cursor, batch in batches(changes, self._batch_size):
                body = body_of("presence.changes", [as_json(change) for change in batch])
                await self._tell(State(cursor, batch=Batch(cursor, body)))

    async def _reset(self, cursor: str | None) -> None:
        name = f"{cursor}-{secrets.token_hex(8)}"  # should the state be lost and this begin at the same cursor again
        scan = Scan(name, page=None, number=1)
        await self._tell(State(cursor, scan, Batch(f"{name}-0", body_of("presence.reset", []))))

    async def _tell_page(self, scan: Scan) -> None:
        page, ids = await self._db.online(scan.page, self._batch_size)
        after = State(self._state.cursor, None if page is None else Scan(scan.name, page, scan.number + 1))
        known = [as_json(presencedb.Change(user_id, True, None, "known")) for user_id in ids]
        if known:
            await self._tell(replace(after, batch=Batch(f"{scan.name}-{scan.number}", body_of("presence.changes", known))))
        self._state = after

    async def _tell(self, state: State) -> None:
        self._file.save(state)
        self._state = state
        await self._deliver()

    async def _deliver(self) -> None:
        """Send the batch of the state, until it was taken."""
        batch = self._state.batch
        if batch is None:
            return
        for failure_count in itertools.count():
            attempt = asyncio.ensure_future(self._receiver.post(batch))
            try:
                problem = await asyncio.shield(attempt)
            except asyncio.CancelledError:
                # The answer that is on its way spares the receiver a repetition after the next start.
                log.info("told to end, which waits for the answer to batch %s", batch.key)
                if await attempt is None:
                    self._state = replace(self._state, batch=None)
                raise
            if problem is None:
                # On disk the batch stays until the next one takes its place: one write a batch, and after a crash at worst
                # a repetition.
                self._state = replace(self._state, batch=None)
                return
            log.warning("batch %s was not taken, it will be sent again: %s", batch.key, problem)
            await back_off(failure_count)


async def batches(changes: presencedb.AsyncFollow, size: int) -> AsyncIterator[tuple[str, list[presencedb.Change]]]:
    """What the feed has to give, in lists of about `size`, each with the cursor after it.

    The feed comes in portions with one cursor each, of up to 4,096 changes. A list ends where a portion ends, so it may be
    longer than `size` by nearly a portion.

    Raises:
        GapError: changes were missed; those before were given out.
    """
    while True:
        batch: list[presencedb.Change] = []
        gap: presencedb.GapError | None = None
        try:
            before = changes.cursor
            batch.append(await anext(changes))
            async with asyncio.timeout(0):  # as long as there are changes that were received already
                while len(batch) < size or changes.cursor == before:  # the cursor moves with the last one of a portion
                    before = changes.cursor
                    batch.append(await anext(changes))
        except TimeoutError:
            pass
        except presencedb.GapError as error:
            gap = error
        if batch:
            assert changes.cursor is not None
            yield changes.cursor, batch
        if gap is not None:
            raise gap


def as_json(change: presencedb.Change) -> dict[str, Any]:
    """A change for a JSON body; ids are text there, for JavaScript has no integers above 2^53."""
    at = None if change.at is None else change.at.isoformat(timespec="milliseconds")
    return {"id": str(change.id), "online": change.online, "at": at, "reason": change.reason}


def body_of(kind: str, data: Sequence[dict[str, Any]]) -> str:
    """The body of a request."""
    return json.dumps({"type": kind, "data": data}, ensure_ascii=False, separators=(",", ":"))


async def back_off(failure_count: int) -> None:
    """Wait between nothing and a bound that doubles with each failure: full jitter, so that many senders do not come at once
    (Brooker, "Exponential Backoff And Jitter", 2015)."""
    bound_s = min(BACKOFF_S_MAX, BACKOFF_S * 2.0 ** min(failure_count, 30))
    await asyncio.sleep(random.uniform(0, bound_s))  # noqa: S311 - for jitter


def read_secret(path: Path) -> bytes:
    """The key of the signatures from its file.

    Raises:
        ValueError: it is not of the form of Standard Webhooks.
    """
    text = path.read_text().strip()
    with contextlib.suppress(binascii.Error):
        if text.startswith(KEY_PREFIX) and (secret := base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)):
            return secret
    raise ValueError(
        f'{path}: a secret is {KEY_PREFIX} and base64; make one: echo "whsec_$(openssl rand -base64 32)" > {path}'
    )


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="where to POST to")
    parser.add_argument("--secret-file", type=Path, required=True, help="has the key of the signatures, whsec_...")
    parser.add_argument("--state", type=Path, required=True, help="the file that the next start goes on from")
    parser.add_argument("--presence", default="presence://127.0.0.1:7411", help="the server to follow (%(default)s)")
    parser.add_argument("--token-file", help="has the token, where the server asks for one")
    parser.add_argument("--batch", type=int, default=1000, help="changes in a request, about (%(default)s)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for each request (%(default)s)")
    return parser.parse_args()


async def relay(options: argparse.Namespace) -> None:
    """Relay until SIGTERM or SIGINT."""
    file = StateFile(options.state)
    db = presencedb.AsyncClient(options.presence, token_file=options.token_file, client_name="webhook-relay")
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(options.timeout)) as session:
            receiver = Receiver(session, options.url, read_secret(options.secret_file))
            await Relay(db, receiver, file, options.batch).run()
    except asyncio.CancelledError:
        log.info("ended")
    finally:
        await db.close()
        file.close()


def main() -> None:
    """Run; what is wrong with the options or the rights is one line and the exit status 1."""
    options = read_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(relay(options))
    except BlockingIOError:
        sys.exit(f"{options.state}: another relay is at work with it")
    except (OSError, ValueError, presencedb.Error) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
