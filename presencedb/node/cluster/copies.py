"""Registers on the wire: with ages in milliseconds, since ticks and clocks are each node's own.

An age is taken when it is sent, from the beginning of the tick of the register. The receiver makes a heartbeat older by the
round trip, so that a copy is never younger than the truth; a sign-off not, or it would lose against the heartbeat before it.
Both round to a tick that began no later, so that copies sent back and forth never grow younger.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

from presencedb.engine import Copies
from presencedb.engine.copies import AGE_TICKS_MAX
from presencedb.errors import BadRequest, ProtocolError
from presencedb.ids import IdBatch
from presencedb.limits import AGE_MS_MAX
from presencedb.node.ticker import Ticker

_NOT_UNDERSTOOD: Final = "a member answered with registers that are not understood"


def ages_to_send_ms(copies: Copies, ticker: Ticker) -> list[int]:
    """The ages of copies that were exported at the tick of this moment."""
    tick_ms, phase_ms = ticker.tick_ms, ticker.phase_ms
    return [min(age * tick_ms + phase_ms, AGE_MS_MAX) for age in copies.ages_ticks]


def copies_of_wire(ids: IdBatch, ages_ms: Any, signed_off: Any, ticker: Ticker, round_trip_ms: int) -> Copies:
    """The copies to merge at the tick of this moment; ids whose age is nil are left out.

    Raises:
        ProtocolError: the columns differ in length, or in kind from what was promised.
    """
    if not isinstance(ages_ms, list) or not isinstance(signed_off, list) or not len(ids) == len(ages_ms) == len(signed_off):
        raise ProtocolError(_NOT_UNDERSTOOD)
    if not set(map(type, signed_off)) <= {bool} or not set(map(type, ages_ms)) <= {int, type(None)}:
        raise ProtocolError(_NOT_UNDERSTOOD)
    kept = [index for index, age_ms in enumerate(ages_ms) if age_ms is not None]
    if len(kept) < len(ages_ms):
        ids = ids.take(array("I", kept))
        ages_ms = [ages_ms[index] for index in kept]
        signed_off = [signed_off[index] for index in kept]
    if ages_ms and (min(ages_ms) < 0 or max(ages_ms) > AGE_MS_MAX):
        raise ProtocolError(_NOT_UNDERSTOOD)
    tick_ms, phase_ms = ticker.tick_ms, ticker.phase_ms
    ticks = array("I", bytes(0))
    for age_ms, is_sign_off in zip(ages_ms, signed_off, strict=True):
        since_ms = age_ms - phase_ms if is_sign_off else age_ms + round_trip_ms - phase_ms
        ticks.append(min(max(-(-since_ms // tick_ms), 0), AGE_TICKS_MAX))
    return Copies(ids, ticks, bytes(signed_off))


def page_of_wire(answer: Any) -> tuple[str | None, IdBatch, Any, Any]:
    """The answer to `pages_out`: the next cursor, the ids, and the columns for `copies_of_wire`.

    Raises:
        ProtocolError: it is of another shape.
    """
    match answer:
        case [str() | None as cursor, list(ids), ages_ms, signed_off]:
            try:
                return cursor, IdBatch(ids), ages_ms, signed_off
            except BadRequest:
                pass
    raise ProtocolError(_NOT_UNDERSTOOD)
