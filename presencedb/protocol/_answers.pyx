# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""What a client reads, compiled: numbers, and the answers with a value for each id straight into a column.

`codec_python.py` has the twin and says what is right. An answer of the usual shape (see `_wire.h`) is read here, from the
receive buffer; any other frame is cut out and handed to the twin, so that there is one place that judges what is odd.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from presencedb.protocol._inbox cimport (
    INBOX_BAD, INBOX_FRAME, INBOX_MORE, INBOX_NO_MEMORY, WIRE_OK, inbox, inbox_free, inbox_look, inbox_tidy, inbox_wire,
    take_frame, take_in, wire,
)

from array import array

from presencedb.errors import BadRequest, ProtocolError, TooLarge
from presencedb.limits import FRAME_BYTES_MAX
from presencedb.protocol import codec_python
from presencedb.protocol.messages import Response


cdef extern from "presencedb/protocol/_wire.h" nogil:
    int wire_answer(wire *wire, uint32_t *msgid)
    int wire_uint(wire *wire, uint64_t *value)
    int wire_column(wire *wire, uint32_t *count)
    int wire_statuses(wire *wire, uint8_t *statuses, uint32_t count)
    int wire_times(wire *wire, int64_t *times, uint32_t count)


cdef uint32_t DEPTH_MAX = codec_python.DEPTH_MAX
cdef size_t FRAME_BYTES = FRAME_BYTES_MAX


cdef class ClientDecoder:
    """Bytes from a server -> responses and notifications. The same as its twin, and faster."""

    cdef inbox inbox
    cdef dict columns
    cdef object broken  # what ended the stream

    def __init__(self, dict columns not None):
        """`codec_python.ClientDecoder` says what `columns` are."""
        self.columns = columns

    def __dealloc__(self):
        inbox_free(&self.inbox)

    def feed(self, data):
        """Take bytes as they came, in pieces of any size. They are copied."""
        if self.broken is None:
            take_in(&self.inbox, data)

    def next_message(self):
        """The next message, or None while there is no whole frame.

        Raises:
            ProtocolError: the peer does not speak MessagePack-RPC as presencedb does, now and at every later call.
        """
        cdef object message = None
        if self.broken is not None:
            raise self.broken
        if self.inbox.start == self.inbox.end:
            inbox_tidy(&self.inbox)
            return None
        if not self.inbox.partial:
            message = self._read_usual()
        if message is None:
            message = self._read_odd()
        return message

    cdef object _read_usual(self):
        """The answer at `start`, a number or a column that was asked for; None where it is neither, or not all there."""
        cdef wire reader = inbox_wire(&self.inbox)
        cdef uint32_t msgid = 0
        cdef uint64_t number = 0
        cdef object method
        if wire_answer(&reader, &msgid) != WIRE_OK:
            return None
        method = self.columns.get(msgid)
        if method is not None:
            return self._read_column(reader, msgid, method)
        if wire_uint(&reader, &number) != WIRE_OK:
            return None
        self.inbox.start = <size_t>(reader.at - self.inbox.data)
        return Response(msgid, None, number)

    cdef object _read_column(self, wire reader, uint32_t msgid, str method):
        """A column that was asked for, whose answer begins before `reader`."""
        cdef uint32_t count = 0
        cdef bytes values
        cdef int result
        if wire_column(&reader, &count) != WIRE_OK or count > FRAME_BYTES:
            return None
        if method == "status":
            values = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count)
            result = wire_statuses(&reader, <uint8_t *>PyBytes_AS_STRING(values), count)
        else:
            values = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(count * sizeof(int64_t)))
            result = wire_times(&reader, <int64_t *>PyBytes_AS_STRING(values), count)
        if result != WIRE_OK or <size_t>(reader.at - self.inbox.data) - self.inbox.start > FRAME_BYTES:
            return None
        del self.columns[msgid]
        self.inbox.start = <size_t>(reader.at - self.inbox.data)
        return Response(msgid, None, values if method == "status" else array("q", values))

    cdef object _read_odd(self):
        """The frame at `start` by the twin, unless it just came in pieces; None while it is not all there."""
        cdef size_t size = 0
        cdef bint in_pieces = self.inbox.partial
        cdef object message = None
        cdef int result = inbox_look(&self.inbox, FRAME_BYTES, DEPTH_MAX, &size)
        if result == INBOX_MORE:
            return None
        if result == INBOX_NO_MEMORY:
            raise MemoryError
        if result == INBOX_BAD:
            return self._break_off(codec_python.not_understood(BadRequest(codec_python.NOT_MESSAGEPACK)))
        if result != INBOX_FRAME:
            return self._break_off(codec_python.not_understood(TooLarge(codec_python.FRAME_TOO_LARGE)))
        if in_pieces:
            message = self._read_usual()
        if message is not None:
            return message
        try:
            return codec_python.read_answer(take_frame(&self.inbox, size), self.columns)
        except ProtocolError as error:
            self._break_off(error)

    cdef object _break_off(self, error):
        self.broken = error
        inbox_free(&self.inbox)
        raise error
