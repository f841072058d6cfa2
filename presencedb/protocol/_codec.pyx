# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""What a server reads, compiled: requests from the receive buffer straight into an `IdBatch`.

`codec_python.py` is its twin and says what is right. A frame of the usual shape (see `_wire.h`) is read here; any other is
cut out and handed to the twin, so that there is one place that judges what is odd, and one wording of every error.

**Runs.** Frames that ask the same of other ids, as a pipelining client sends them, come out as one `Request` with all their
ids: one call of the engine for the lot, with the table's memory fetched ahead. `Run` remembers which frame had how many, and
encodes an answer to each.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from presencedb.ids._batch cimport IdBatch, ids
from presencedb.protocol._inbox cimport (
    INBOX_BAD, INBOX_FRAME, INBOX_MORE, INBOX_NO_MEMORY, WIRE_OK, inbox, inbox_free, inbox_look, inbox_tidy, inbox_wire,
    take_frame, take_in, wire,
)

from presencedb.errors import BadRequest, TooLarge
from presencedb.limits import FRAME_BYTES_MAX, IDS_PER_FRAME_MAX, RUN_IDS_MAX
from presencedb.protocol import codec_python
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.params import Options
from presencedb.protocol.messages import Malformed, Request


cdef extern from "presencedb/protocol/_wire.h" nogil:
    enum: SCAN_DONE

    struct wire_call:
        int64_t msgid
        const uint8_t *method
        size_t method_size
        uint32_t param_count

    struct scan:
        size_t at

    int wire_head(wire *wire, wire_call *call)
    int wire_ids(wire *wire, ids *ids, uint32_t count_max)
    scan scan_new()
    void scan_free(scan *scan)
    int scan_on(scan *scan, const uint8_t *data, size_t size, uint32_t depth_max)


cdef extern from "presencedb/protocol/_write.h" nogil:
    uint8_t *put_uint(uint8_t *at, uint64_t value)
    uint8_t *put_array(uint8_t *at, size_t count)
    uint8_t *put_answer(uint8_t *at, uint32_t msgid)


cdef enum:
    NOTIFICATION = -1
    # Of an answer without the statuses: array of 4, kind, msgid of up to 5 bytes, nil, a number or head of up to 5.
    ANSWER_BYTES_MAX = 13
    ID_COUNT_MAX = 100_000

cdef uint32_t DEPTH_MAX = codec_python.DEPTH_MAX
cdef size_t FRAME_BYTES = FRAME_BYTES_MAX
cdef size_t RUN_IDS = RUN_IDS_MAX
assert IDS_PER_FRAME_MAX == ID_COUNT_MAX

# The commands that take ids, and may take nothing else but one value more; the first two are worth collecting into runs.
cdef tuple ID_COMMAND_NAMES = ("heartbeat", "status", "offline", "last_seen", "watch", "unwatch")
cdef tuple ID_COMMANDS = tuple(COMMANDS[name] for name in ID_COMMAND_NAMES)
cdef tuple ID_METHODS = tuple(command.name.encode() for command in ID_COMMANDS)
cdef int RUN_COMMANDS = 2


cdef int command_of(const wire_call *call) noexcept:
    """The index in `ID_COMMANDS`, or -1 where it is another call."""
    cdef int index
    cdef bytes method
    for index in range(<int>len(ID_METHODS)):
        method = <bytes>ID_METHODS[index]
        if call.method_size == <size_t>len(method) and memcmp(call.method, PyBytes_AS_STRING(method), call.method_size) == 0:
            if call.msgid != NOTIFICATION or ID_COMMANDS[index].notification:
                return index
    return -1


cdef struct frame:
    int64_t msgid
    uint32_t id_count


cdef class Run:
    """Which frames a request stands for, in order: the msgid of each (None for a notification) and its count of ids."""

    cdef frame *c
    cdef size_t count, capacity, answer_count, id_count

    def __dealloc__(self):
        free(self.c)

    cdef int append(self, int64_t msgid, size_t id_count) except -1:
        cdef frame *frames
        if self.count == self.capacity:
            frames = <frame *>realloc(self.c, (2 * self.capacity + 8) * sizeof(frame))
            if frames == NULL:
                raise MemoryError
            self.c = frames
            self.capacity = 2 * self.capacity + 8
        self.c[self.count] = frame(msgid=msgid, id_count=<uint32_t>id_count)
        self.count += 1
        self.id_count += id_count
        self.answer_count += msgid != NOTIFICATION
        return 0

    def __len__(self):
        return <Py_ssize_t>self.count

    @property
    def frames(self):
        """`(msgid or None, count of ids)` of each frame."""
        return [
            (None if self.c[index].msgid == NOTIFICATION else self.c[index].msgid, self.c[index].id_count)
            for index in range(self.count)
        ]

    @property
    def msgids(self):
        """Those of the requests among the frames, in order."""
        return [msgid for msgid, _ in self.frames if msgid is not None]

    def encode_counts(self, const uint8_t[::1] marks not None):
        """An answer to each request: how many of its ids are marked with 1."""
        cdef size_t index, id_index = 0, end = 0
        cdef uint64_t marked
        cdef bytes answers = self._answers(marks.shape[0], 0)
        cdef uint8_t *start = <uint8_t *>PyBytes_AS_STRING(answers)
        cdef uint8_t *at = start
        for index in range(self.count):
            end = id_index + self.c[index].id_count
            marked = 0
            while id_index < end:
                marked += marks[id_index]
                id_index += 1
            if self.c[index].msgid != NOTIFICATION:
                at = put_uint(put_answer(at, <uint32_t>self.c[index].msgid), marked)
        return answers[: at - start]

    def encode_statuses(self, const uint8_t[::1] statuses not None):
        """An answer to each request: an array of true, false and nil, from one `Status` byte each."""
        cdef size_t index, id_index = 0, end = 0
        cdef bytes answers = self._answers(statuses.shape[0], statuses.shape[0])
        cdef uint8_t *start = <uint8_t *>PyBytes_AS_STRING(answers)
        cdef uint8_t *at = start
        for index in range(self.count):
            # Every frame of such a run is a request: a question is of no use as a notification.
            at = put_array(put_answer(at, <uint32_t>self.c[index].msgid), self.c[index].id_count)
            end = id_index + self.c[index].id_count
            while id_index < end:
                at[0] = <uint8_t>(0xC2 + statuses[id_index]) if statuses[id_index] < 2 else 0xC0
                at += 1
                id_index += 1
        return answers[: at - start]

    cdef bytes _answers(self, Py_ssize_t given, Py_ssize_t body_bytes):
        """Room for all answers; what was given must be a byte for each id."""
        if <size_t>given != self.id_count:
            raise ValueError(f"a run of {self.id_count} ids is not answered by {given} bytes")
        return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(self.answer_count * ANSWER_BYTES_MAX) + body_bytes)


cdef class ServerDecoder:
    """Bytes from a client -> requests. The same as its twin, and faster."""

    cdef inbox inbox
    cdef object broken  # what ended the stream

    def __dealloc__(self):
        inbox_free(&self.inbox)

    def feed(self, data):
        """Take bytes as they came, in pieces of any size. They are copied."""
        if self.broken is None:
            take_in(&self.inbox, data)

    def next_message(self, Py_ssize_t frame_count_max=1):
        """The next request, what is wrong with the next frame, or None while there is no whole frame.

        Up to `frame_count_max` frames that ask the same may come out as one request.
        """
        cdef object message = None
        if self.broken is not None:
            return self.broken
        if self.inbox.start == self.inbox.end:
            inbox_tidy(&self.inbox)
            return None
        if not self.inbox.partial:
            message = self._read_usual(frame_count_max)
        if message is None:
            message = self._read_odd(frame_count_max)
        return message

    cdef object _read_usual(self, Py_ssize_t frame_count_max):
        """The calls of the usual shape from `start` on, as one request; None where the first frame is of another."""
        cdef wire reader = inbox_wire(&self.inbox)
        cdef wire_call call
        cdef IdBatch batch = IdBatch.__new__(IdBatch)
        cdef Run run = None
        cdef object after = None
        cdef object msgid = None
        cdef int of_run = -1
        cdef int command
        cdef size_t ids_before
        cdef Py_ssize_t frame_count = 0
        while frame_count < frame_count_max and batch.c.count < RUN_IDS:
            if wire_head(&reader, &call) != WIRE_OK or call.param_count < 1 or call.param_count > 2:
                break
            command = command_of(&call)
            if command < 0 or (frame_count > 0 and (command != of_run or call.param_count == 2)):
                break
            ids_before = batch.c.count
            if wire_ids(&reader, &batch.c, ID_COUNT_MAX) != WIRE_OK:
                break
            if call.param_count == 2:
                after = self._read_after_ids(command, &reader)
                if after is None:
                    break
            if <size_t>(reader.at - self.inbox.data) - self.inbox.start > FRAME_BYTES:
                batch.c.count = ids_before
                break
            frame_count += 1
            of_run = command
            self.inbox.start = <size_t>(reader.at - self.inbox.data)
            if msgid is None and call.msgid != NOTIFICATION:
                msgid = call.msgid
            if command >= RUN_COMMANDS or call.param_count == 2:
                break
            if frame_count_max > 1:
                if run is None:
                    run = Run.__new__(Run)
                run.append(call.msgid, batch.c.count - ids_before)
        if frame_count == 0:
            return None
        return Request(
            ID_COMMANDS[of_run], msgid, batch, None if after is None else after.cursor, 0,
            Options() if after is None else after.options, run if frame_count > 1 else None,
        )

    cdef object _read_after_ids(self, int command, wire *reader):
        """The value that ends a call; None where it is not all there, or wrong, which the twin then says."""
        cdef scan ahead = scan_new()
        cdef size_t size
        cdef int result = scan_on(&ahead, reader.at, <size_t>(reader.end - reader.at), DEPTH_MAX)
        size = ahead.at
        scan_free(&ahead)
        if result != SCAN_DONE:
            return None
        after = codec_python.read_after_ids(ID_COMMANDS[command], PyBytes_FromStringAndSize(<char *>reader.at, <Py_ssize_t>size))
        reader.at += size
        return after

    cdef object _read_odd(self, Py_ssize_t frame_count_max):
        """The frame at `start` by the twin, unless it just came in pieces; None while it is not all there."""
        cdef size_t size = 0
        cdef bint in_pieces = self.inbox.partial
        cdef object message = None
        cdef int result = inbox_look(&self.inbox, FRAME_BYTES, DEPTH_MAX, &size)
        if result == INBOX_MORE:
            return None
        if result == INBOX_NO_MEMORY:
            raise MemoryError
        if result != INBOX_FRAME:
            not_messagepack = result == INBOX_BAD
            return self._break_off(
                BadRequest(codec_python.NOT_MESSAGEPACK) if not_messagepack else TooLarge(codec_python.FRAME_TOO_LARGE)
            )
        if in_pieces:
            message = self._read_usual(frame_count_max)
        return codec_python.read_frame(take_frame(&self.inbox, size)) if message is None else message

    cdef object _break_off(self, error):
        cdef size_t size = min(self.inbox.end - self.inbox.start, <size_t>codec_python.HEAD_BYTES_MAX)
        cdef bytes head = PyBytes_FromStringAndSize(<char *>self.inbox.data + self.inbox.start, <Py_ssize_t>size)
        self.broken = Malformed(codec_python.peek(head)[1], error, fatal=True)
        inbox_tidy(&self.inbox)
        return self.broken
