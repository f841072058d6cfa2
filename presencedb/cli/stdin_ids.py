"""The ids of a command: its arguments, and in the place of `-` whatever stdin has, as it comes.

Stdin is read in pieces, and the ids of a piece are one batch. So a file of any size needs little memory, and ids that
trickle through a pipe are used when they come, not when the pipe ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import click

from presencedb.errors import BadRequest, Error
from presencedb.ids import Id, canonical_id
from presencedb.limits import FRAME_BYTES_MAX, ID_TEXT_BYTES_MAX, IDS_PER_FRAME_MAX, KIB

STDIN: Final = "-"
PIECE_BYTES: Final = 64 * KIB
BATCH_IDS_MAX: Final = 10_000
_STDIN_FD: Final = 0
_BYTE_ORDER_MARK: Final = "\ufeff".encode()

assert PIECE_BYTES < IDS_PER_FRAME_MAX, "the ids of a piece fit a frame, if each is one character"
assert BATCH_IDS_MAX * (ID_TEXT_BYTES_MAX + 3) < FRAME_BYTES_MAX


async def id_batches(arguments: Sequence[str]) -> AsyncIterator[Sequence[Id]]:
    """The ids in order, in batches that each fit a frame. All arguments are checked before the first batch.

    Raises:
        click.UsageError: something is not an id; what came before it on stdin has been given out.
    """
    checked = [text if text == STDIN else _checked(text, f"{_shown(text)} is no id") for text in arguments]
    pending: list[Id] = []
    for item in checked:
        if item != STDIN:
            pending.append(item)
            continue
        for batch in _cut(pending):
            yield batch
        pending = []
        async for batch in _stdin_batches():
            yield batch
    for batch in _cut(pending):
        yield batch


async def all_ids(arguments: Sequence[str]) -> list[Id]:
    """All ids at once.

    Raises:
        click.UsageError: something is not an id, or there is none.
    """
    ids = [user_id async for batch in id_batches(arguments) for user_id in batch]
    if not ids:
        raise click.UsageError("no id came from stdin")
    return ids


async def _stdin_batches() -> AsyncIterator[list[Id]]:
    if sys.stdin is None:  # its descriptor is something else by now
        raise click.UsageError("- reads ids from stdin, which is closed")
    rest = b""
    count = 0
    is_first = True
    while piece := await _read_piece():
        if is_first:
            piece = piece.removeprefix(_BYTE_ORDER_MARK)
            is_first = False
        words = (rest + piece).split()
        ends_in_a_word = not piece[-1:].isspace()
        rest = words.pop() if words and ends_in_a_word else b""
        if len(rest) > ID_TEXT_BYTES_MAX:  # refused here already, so that it cannot grow without end
            words.append(rest)
        if words:
            yield _checked_words(words, count)
            count += len(words)
    if rest:
        yield _checked_words([rest], count)


async def _read_piece() -> bytes:
    """The next bytes of stdin, or none at its end. The loop goes on meanwhile, and can be interrupted."""
    while True:
        await _wait_readable(_STDIN_FD)
        try:
            return os.read(_STDIN_FD, PIECE_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            raise Error(f"cannot read stdin: {error.strerror}") from None


async def _wait_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(fd, readable.set)
    except OSError:  # a file can always be read, and cannot be waited for
        return
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)


def _cut(ids: Sequence[Id]) -> Iterable[Sequence[Id]]:
    return (ids[start : start + BATCH_IDS_MAX] for start in range(0, len(ids), BATCH_IDS_MAX))


def _checked_words(words: Sequence[bytes], count: int) -> list[Id]:
    return [
        _checked(word.decode(errors="surrogateescape"), f"stdin, id number {number}")
        for number, word in enumerate(words, start=count + 1)
    ]


def _checked(text: str, place: str) -> Id:
    try:
        return canonical_id(text)
    except BadRequest as error:
        raise click.UsageError(f"{place}: {error.message}") from None


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")
