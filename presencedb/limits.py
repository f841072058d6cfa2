"""Every hard bound, by name, unit last, with its reason; the asserts at the end hold their relations.

A limit that somebody may want to change is an option in `config/`, with its default taken from here.
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
JSON_INT_MAX: Final = 2**53 - 1
"""The largest integer that a JSON number carries safely (`Number.MAX_SAFE_INTEGER`). What comes as 2^53 may
have been 2^53 + 1 before a writer in JavaScript rounded it, so from there on numbers are refused instead of guessed."""

# --- slots -----------------------------------------------------------------------------------------------------------
SLOT_BITS: Final = 14
SLOT_COUNT: Final = 1 << SLOT_BITS
"""What a cluster places on nodes: the top 14 bits of an id's hash."""

# --- the cluster -----------------------------------------------------------------------------------------------------
MEMBERS_MAX: Final = 1024
"""Nodes of a cluster. Ranking so many takes a fifth of a second, and leaves each 16 slots to tell them apart by."""
REPLICAS_MAX: Final = 8
OWNERS_MAX: Final = 2 * REPLICAS_MAX
"""Nodes that a slot's writes go to, while it moves: old and new owners."""
MEMBER_ID_BYTES_MAX: Final = 64
MEMBER_TEXT_BYTES_MAX: Final = 320
"""An address or another text about a member: the longest host name with its port, or path of a Unix socket, fits."""
MEMBER_LATE_MS: Final = 500
"""An answer that takes longer is asked for elsewhere, and its member is asked nothing until it answers."""
MEMBER_IDS_IN_FLIGHT_MAX: Final = 200_000
"""Ids that one member is asked about at a time. It is done with so many long before their answers would be late."""
MEMBER_LOOK_MS: Final = 50
"""How late an observer may be itself before it blames itself instead."""
MEMBER_RETRY_MS_MIN: Final = 50
MEMBER_RETRY_MS_MAX: Final = 1_000
"""Between attempts to reach a member that is down: growing from one to the other."""
MEMBER_SLOTS_MS: Final = 1_000
"""How often an observer asks a member which slots it is synced in."""
TOPOLOGY_POLL_MS: Final = 5_000
"""How often an observer that has no file of members asks one of them whether there is a newer topology."""
EPOCH_ASK_MS: Final = 1_000
"""How often a member that sees a newer epoch asks all others for their topology at most."""
PEER_POLL_MS: Final = 250
"""How often a member asks each other owner of its slots what it has missed."""
PULL_COUNT_MAX: Final = 10_000
"""Registers of one page of a pull: some milliseconds of work at both ends."""
AGREEMENT_SLOTS: Final = 256
"""Slots about whose users one question is asked."""
AGREEMENT_IDS_MAX: Final = 50_000
"""Users asked about in a tick at the owners of one set of slots, and one question more."""
WEIGHT_DEFAULT: Final = 100
WEIGHT_MAX: Final = 1000
"""Ten bits, so that a logarithm of 54 bits times a weight fits 64."""
EPOCH_MAX: Final = 2**63 - 1

GATHERED_IDS_MAX: Final = 8_192
"""Ids of the requests of one turn that go to nodes together. One with more goes alone."""
ROUTED_IDS_MAX: Final = 1_000_000
"""Ids in requests that a router has under way to nodes; above it takes no more from any connection whose requests come."""
ROUTED_IDS_OF_ONE_MAX: Final = 100_000
"""The same of one connection. Pipelined batches keep the nodes busy with far less; a flood of notifications waits in the
kernels of those who send it."""

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
"""Requests of one connection that wait for their answers; further ones are refused as `busy`."""
REPLIES_OWED_MAX: Final = 2 * REQUESTS_IN_FLIGHT_MAX
"""Replies that wait for an earlier one, refusals counted. At this many nothing more is read from the connection."""
RUN_FRAMES_MAX: Final = 512
"""Frames of one client that are served as one request, where they ask the same of other ids."""
RUN_IDS_MAX: Final = 16_384
"""A run that has this many ids takes no further frame: one step of the loop stays short."""
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
LAST_WORDS_MS_MAX: Final = 1 * SECOND_MS
"""How long a client whose connection is being closed may go on sending, which is thrown away. A socket closed with input
unread takes back the answers that are on their way."""
KEEPALIVE_IDLE_S: Final = 60
KEEPALIVE_INTERVAL_S: Final = 15
KEEPALIVE_PROBES: Final = 4
"""A peer that vanished without a word is noticed after two minutes of silence."""
TURN_REQUESTS_MAX: Final = 128
TURN_IDS_MAX: Final = 10_000
"""What one connection gets done in one turn of the loop before the others have theirs; a single batch may go over it."""
TURN_REQUEST_IDS: Final = 64
"""What a request counts as there, beside its ids: reading and answering one takes about as long."""
LOOP_TURN_IDS_MAX: Final = 3 * TURN_IDS_MAX
"""What all connections together get done in one turn: with however many of them, a turn stays short."""
SMALL_INPUT_BYTES: Final = 16 * KIB
"""Who has sent no more than this since its last request was served goes before those who have sent more, where not all
have their turn at once."""

# --- the feed --------------------------------------------------------------------------------------------------------
FEED_EVENTS_MAX: Final = 2_000_000
FEED_BYTES_MAX: Final = 64 * MIB
FEED_FRAME_EVENTS_MAX: Final = 4096
"""Transitions in one `presence` notification."""
FEED_TURN_EVENTS_MAX: Final = 4 * FEED_FRAME_EVENTS_MAX
"""Transitions looked at in one turn of the loop to tell those who are up to date, and as many for those who are behind."""
FEED_PUSH_EVENTS: Final = 16
"""What a notification counts as there: making and writing it takes about as long."""
FEED_UNTOLD_EVENTS_MAX: Final = 16 * FEED_FRAME_EVENTS_MAX
"""With more than these to be told a turn goes on until it has caught up: what waits does not grow with how fast it comes."""
FEED_LINGER_MS: Final = 60 * SECOND_MS
"""How long after its last reader left the feed goes on keeping transitions, so that a reader can come back."""
WATCHED_IDS_MAX: Final = 10_000
"""Ids that one connection watches at a time."""
EVENTS_HIGH_WATER_BYTES: Final = 256 * KIB
"""Output waiting in a connection that follows or watches, above which events are held back: what one that stops reading
costs, beside the notification that went over it."""
EVENTS_LOW_WATER_BYTES: Final = 64 * KIB
"""Of output waiting there, at which they go on. On TCP the system too keeps no more than this unsent for such a one."""
SLOW_READER_MS: Final = 60 * SECOND_MS
"""A reader of the feed that has had no room for so long is cut: it can come back with its cursor, and holds nothing here."""
EXPIRIES_PER_TURN_MAX: Final = 4096
"""Timeouts emitted in one turn of the loop, so that expiry of a crowd does not hold up those who are there."""

# --- clients ---------------------------------------------------------------------------------------------------------
CLIENT_IN_FLIGHT_MAX: Final = REQUESTS_IN_FLIGHT_MAX - 8
"""Calls that wait for an answer on one connection; the rest of what a server allows is left for pings."""
CLIENT_UNWRITTEN_IDS_MAX: Final = 8192
"""Ids in requests that wait for the end of the loop turn; with more they are written at once, so that pressure is felt."""
ATTEMPT_MS_MIN: Final = 200
"""The least time an attempt gets, however short the heartbeat interval: below it a busy machine looks like a dead one."""
PING_INTERVAL_MS_MIN: Final = 2 * ATTEMPT_MS_MIN
PING_INTERVAL_MS_MAX: Final = 30 * SECOND_MS
"""Pings keep to the heartbeat interval between these two, so that with a ttl of hours a dead connection is noticed too."""
LAST_CHANCE_MS: Final = 50
"""A late answer gets this long more, in which the loop reads: after a pause of this very process it may be there."""
BACKOFF_BASE_MS: Final = 100
BACKOFF_CAP_MS: Final = 2 * SECOND_MS
"""Full jitter: after failure n, a wait between 0 and `base * 2**n`, at most the cap."""
LATE_WRITE_MS: Final = TICK_MS_DEFAULT
"""A write that leaves later than this after its call began says its age, even on its first attempt."""
FOLLOW_QUEUE_CHANGES_MAX: Final = 65_536
"""Changes that wait for the reader of a feed, above which nothing more is read from its connection."""
FEED_REQUESTS_IN_FLIGHT_MAX: Final = 64
"""Requests of a client's `watch` that wait for their answers on its connection."""
RESYNC_PAGE_IDS: Final = 4096
"""Users asked about at a time when a client's `follow` finds out what it missed: a short step of the server's loop."""
CLIENT_CONNECTIONS_MAX: Final = 32
"""Connections that the calls of one blocking client use at a time; more threads than these wait for one."""
CLIENT_IDLE_MS_MAX: Final = 60 * SECOND_MS
"""A connection of a blocking client that no call needed for so long is closed when another one is given back."""
UNIX_PATH_BYTES_MAX: Final = 107
"""`sun_path` of Linux, without the NUL that ends it."""

# --- HTTP ------------------------------------------------------------------------------------------------------------
HTTP_LINE_BYTES_MAX: Final = 64 * KIB
HTTP_IDS_MAX: Final = 10_000
HTTP_BODY_BYTES_MAX: Final = 4 * MIB
HTTP_FIELD_BYTES_MAX: Final = 16 * KIB
"""One header field. A user token with many claims has a few KiB. Not the same as the line: that is how a parser's complaint
tells which of the two was too long."""
HTTP_FIELDS_MAX: Final = 64
HTTP_KEEP_ALIVE_S: Final = 75.0
"""How long a connection may sit between two requests, and how long the head of one may take."""
HTTP_BODY_WAIT_S: Final = 20.0
"""How long the rest of a body may take once the head is there."""
HTTP_LINGER_S: Final = 2.0
"""How long what a client still sends is dropped after the answer that ends its connection, so that the answer arrives."""
JWT_SECRET_BYTES_MIN: Final = 32
"""An HS256 secret is at least as long as its hash (RFC 7518, section 3.2)."""
JWT_RSA_BITS_MIN: Final = 2048
JWT_KNOWN_MS_MAX: Final = 30 * SECOND_MS
"""How long a user token that was found good is not verified again: three heartbeats of a user with the default ttl."""
JWT_KNOWN_MAX: Final = 65_536
"""User tokens remembered as good, about 250 bytes each."""
JWKS_BYTES_MAX: Final = 256 * KIB
JWKS_KEYS_MAX: Final = 100

# --- relations -------------------------------------------------------------------------------------------------------
assert TTL_MS_MAX // TICK_MS_MIN < TICK_ORIGIN, "a deadline of the longest ttl fits behind the origin"
assert TICK_ORIGIN < TICK_MAX
assert TICK_MS_MAX < TICK_AGE_MS_MAX, "a healthy node is ready all the time"
assert IDS_PER_FRAME_MAX < FRAME_BYTES_MAX, "an id takes at least a byte"
assert IDS_PER_FRAME_MAX <= MEMBER_IDS_IN_FLIGHT_MAX
assert ROUTED_IDS_OF_ONE_MAX < ROUTED_IDS_MAX
assert GATHERED_IDS_MAX * (ID_TEXT_BYTES_MAX + 2) < FRAME_BYTES_MAX, "what goes together fits a frame"
assert SCAN_LIMIT_MAX * (ID_TEXT_BYTES_MAX + 2) < FRAME_BYTES_MAX, "the largest page of a scan fits a frame"
assert FEED_FRAME_EVENTS_MAX * (ID_TEXT_BYTES_MAX + 40) < FRAME_BYTES_MAX, "the largest notification fits a frame"
assert WRITE_LOW_WATER_BYTES < WRITE_HIGH_WATER_BYTES
assert TURN_IDS_MAX <= LOOP_TURN_IDS_MAX
assert SMALL_INPUT_BYTES < READ_BUFFER_BYTES, "who fills a whole read is not small"
assert FEED_FRAME_EVENTS_MAX <= FEED_TURN_EVENTS_MAX <= FEED_UNTOLD_EVENTS_MAX < FEED_EVENTS_MAX
assert EVENTS_LOW_WATER_BYTES < EVENTS_HIGH_WATER_BYTES <= WRITE_HIGH_WATER_BYTES
assert WATCHED_IDS_MAX * (ID_TEXT_BYTES_MAX + 2) < FRAME_BYTES_MAX, "one frame names all the ids that a connection watches"
assert FEED_REQUESTS_IN_FLIGHT_MAX < CLIENT_IN_FLIGHT_MAX
assert RESYNC_PAGE_IDS <= SCAN_LIMIT_MAX
assert RESYNC_PAGE_IDS * (ID_TEXT_BYTES_MAX + 2) < FRAME_BYTES_MAX, "one frame asks about a page of users"
assert HTTP_IDS_MAX <= IDS_PER_FRAME_MAX
assert FEED_FRAME_EVENTS_MAX <= FOLLOW_QUEUE_CHANGES_MAX
assert BACKOFF_BASE_MS <= BACKOFF_CAP_MS
