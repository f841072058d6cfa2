"""Every hard bound, by name, unit last, with its reason; the asserts at the end hold their relations.

A limit that somebody may want to change is an option in `config.py`, with its default taken from here.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
SECOND_MS: Final = 1000
DAY_MS: Final = 24 * 3600 * SECOND_MS

# --- ids -------------------------------------------------------------------------------------------------------------
ID_TEXT_BYTES_MAX: Final = 255
"""A text id, in UTF-8. One byte holds its length wherever it is kept."""
ID_INT_MAX: Final = 2**64 - 1
JSON_INT_MAX: Final = 2**53
"""Above this a JSON number has already lost digits in most readers, so it is refused instead of guessed."""

# --- slots -----------------------------------------------------------------------------------------------------------
SLOT_BITS: Final = 14
SLOT_COUNT: Final = 1 << SLOT_BITS
"""What a cluster places on nodes: the top 14 bits of an id's hash."""

# --- time ------------------------------------------------------------------------------------------------------------
TICK_MS_MIN: Final = 50
TICK_MS_MAX: Final = 1000
TICK_MS_DEFAULT: Final = 100
TTL_MS_DEFAULT: Final = 30 * SECOND_MS
TTL_MS_MAX: Final = 365 * DAY_MS
RETENTION_MS_MAX: Final = 100 * 365 * DAY_MS
HEARTBEATS_PER_TTL: Final = 3
"""A client is told to beat this often within a ttl, so that two lost heartbeats harm nobody."""
TICK_MAX: Final = 2**31 - 1
"""A stored time is 31 bits of ticks, beside one bit for the sign-off."""
TICK_ORIGIN: Final = 2**30
"""The tick of a node's first start. Half of the range lies before it, so that the age of a copy that comes from a much
older node still has a place: 3.4 years at 100 ms a tick, before and after."""
STALL_TICKS: Final = 5
"""A tick that jumps by more than this is a stall of the node itself, not of its users."""
STALL_READ_MS_MAX: Final = 1 * SECOND_MS
"""How long input is read before timeouts are looked at again after a stall."""
STALL_QUIET_TURNS: Final = 5
"""Turns of the loop without input that end the reading after a stall. One would do for connections that are there; accepting
one that waits takes a few turns in which nothing of it shows."""
TICK_AGE_MS_MAX: Final = 1_500
"""A tick older than this means a clock or a loop that stands still: the node says that it is not ready."""
AGE_MS_MAX: Final = 2**53
GRACE_MS_MAX: Final = TTL_MS_MAX
SLEW_PPM: Final = 5_000
"""How fast the wall time shown to people follows a clock that was set: 5 ms a second. Always forward."""

# --- the wire --------------------------------------------------------------------------------------------------------
FRAME_BYTES_MAX: Final = 4 * MIB
IDS_PER_FRAME_MAX: Final = 100_000
OPTIONS_MAX: Final = 16
"""Entries in the map of options that ends a request."""
OPTION_TEXT_BYTES_MAX: Final = 8 * KIB
METHOD_BYTES_MAX: Final = 64
"""What an error repeats of an unknown method's name."""
REQUESTS_IN_FLIGHT_MAX: Final = 1024
MSGID_MAX: Final = 2**32 - 1
SCAN_LIMIT_MAX: Final = 10_000
CURSOR_BYTES_MAX: Final = 4 * KIB
READ_BUFFER_BYTES: Final = 256 * KIB
"""One read of a socket. Shared by all connections of a loop: its bytes are consumed before the next read."""
WRITE_HIGH_WATER_BYTES: Final = 1 * MIB
"""Output waiting in a connection above which nothing more is read from it, and events are held back."""
WRITE_LOW_WATER_BYTES: Final = 256 * KIB
LISTEN_BACKLOG: Final = 1024
"""Connections that the kernel keeps waiting to be accepted: a crowd that reconnects comes all at once."""
TLS_HANDSHAKE_MS_MAX: Final = 10 * SECOND_MS
KEEPALIVE_IDLE_S: Final = 60
KEEPALIVE_INTERVAL_S: Final = 15
KEEPALIVE_PROBES: Final = 4
"""A peer that vanished without a word is noticed after two minutes of silence."""
TURN_REQUESTS_MAX: Final = 128
TURN_IDS_MAX: Final = 10_000
"""What one connection gets done in one turn of the loop before the others have theirs; a single batch may go over it."""

# --- the feed --------------------------------------------------------------------------------------------------------
FEED_EVENTS_MAX: Final = 2_000_000
FEED_BYTES_MAX: Final = 64 * MIB
FEED_FRAME_EVENTS_MAX: Final = 4096
"""Transitions in one `presence` notification."""
FEED_LINGER_MS: Final = 60 * SECOND_MS
"""How long after its last reader left the feed goes on keeping transitions, so that a reader can come back."""
EXPIRIES_PER_TURN_MAX: Final = 4096
"""Timeouts emitted in one turn of the loop, so that expiry of a crowd does not hold up those who are there."""

# --- HTTP ------------------------------------------------------------------------------------------------------------
HTTP_LINE_BYTES_MAX: Final = 64 * KIB
HTTP_IDS_MAX: Final = 10_000
HTTP_BODY_BYTES_MAX: Final = 4 * MIB

# --- relations -------------------------------------------------------------------------------------------------------
assert TTL_MS_MAX // TICK_MS_MIN < TICK_ORIGIN, "a deadline of the longest ttl fits behind the origin"
assert TICK_ORIGIN < TICK_MAX
assert TICK_MS_MAX < TICK_AGE_MS_MAX, "a healthy node is ready all the time"
assert IDS_PER_FRAME_MAX < FRAME_BYTES_MAX, "an id takes at least a byte"
assert SCAN_LIMIT_MAX * (ID_TEXT_BYTES_MAX + 2) < FRAME_BYTES_MAX, "the largest page of a scan fits a frame"
assert FEED_FRAME_EVENTS_MAX * (ID_TEXT_BYTES_MAX + 40) < FRAME_BYTES_MAX, "the largest notification fits a frame"
assert WRITE_LOW_WATER_BYTES < WRITE_HIGH_WATER_BYTES
assert HTTP_IDS_MAX <= IDS_PER_FRAME_MAX
