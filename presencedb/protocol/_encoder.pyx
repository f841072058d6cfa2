# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The hot part of what is written, compiled: columns and batches of ids straight into the bytes of one frame.

`encoder_python.py` has the twins and says what is right. A frame is measured first and then written into bytes of just its
size; no Python object is made for a change or an id.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from presencedb.ids._batch cimport IDS_OK, IdBatch, ids, ids_take

from presencedb.protocol import encoder_python, messages


cdef extern from "presencedb/protocol/_write.h" nogil:
    size_t size_of_uint(uint64_t value)
    size_t size_of_array(size_t count)
    size_t size_of_text(size_t size)
    size_t size_of_id(const ids *ids, size_t index)
    uint8_t *put_uint(uint8_t *at, uint64_t value)
    uint8_t *put_array(uint8_t *at, size_t count)
    uint8_t *put_text(uint8_t *at, const char *text, size_t size)
    uint8_t *put_id(uint8_t *at, const ids *ids, size_t index)
    uint8_t *put_answer(uint8_t *at, uint32_t msgid)


cdef extern from "presencedb/protocol/_presence.h" nogil:
    enum: PRESENCE_REASON_BYTES
    enum: PRESENCE_OK
    enum: PRESENCE_BAD_POSITION

    struct presence_mark:
        uint8_t online
        uint8_t reason_size
        uint8_t reason[16]

    struct presence:
        const ids *ids
        const uint8_t *marks
        const int64_t *times_ms
        const uint32_t *positions
        size_t count
        const presence_mark *known

    int presence_measure(const presence *presence, size_t cursor_size, size_t *size, size_t *bad)
    void presence_put(uint8_t *at, size_t size, const presence *presence, const char *cursor, size_t cursor_size)


cdef enum:
    NIL = 0xC0

cdef object ENCODE_VALUE = encoder_python.encode_value
cdef object REQUEST = messages.REQUEST
cdef presence_mark KNOWN_MARKS[256]


cdef int learn_marks() except -1:
    """Write down once what each mark says."""
    cdef int mark
    cdef bytes reason
    for mark, (online, text) in encoder_python.MARKED.items():
        reason = ENCODE_VALUE(text)
        assert len(reason) <= PRESENCE_REASON_BYTES
        KNOWN_MARKS[mark].online = ENCODE_VALUE(online)[0]
        KNOWN_MARKS[mark].reason_size = <uint8_t>len(reason)
        memcpy(KNOWN_MARKS[mark].reason, PyBytes_AS_STRING(reason), <size_t>len(reason))
    return 0


learn_marks()


cdef int take_column(object column, Py_buffer *view, const char *format) except -1:
    """Look into an array of integers of this type code; to be released."""
    PyObject_GetBuffer(column, view, PyBUF_ND | PyBUF_FORMAT)
    if view.ndim != 1 or view.format[0] != format[0] or view.format[1] != 0:
        PyBuffer_Release(view)
        raise ValueError(f"a column has the type code {format.decode()!r}")
    return 0


def encode_presence(str cursor not None, IdBatch ids not None, bytes marks not None, times_ms not None, positions=None):
    """A `presence` notification; `encoder_python.encode_presence` says what it takes and raises."""
    cdef presence told
    cdef Py_buffer times, places
    take_column(times_ms, &times, b"q")
    try:
        if <size_t>len(marks) != ids.c.count or <size_t>times.shape[0] != ids.c.count:
            raise ValueError(f"{len(ids)} ids, {len(marks)} marks and {times.shape[0]} times are not of one length")
        told = presence(
            ids=&ids.c, marks=<const uint8_t *>PyBytes_AS_STRING(marks), times_ms=<const int64_t *>times.buf,
            positions=NULL, count=ids.c.count, known=&KNOWN_MARKS[0],
        )
        if positions is None:
            return write_presence(cursor, &told)
        take_column(positions, &places, b"I")
        try:
            # An empty array may have no address, and NULL would stand for all.
            if places.shape[0] > 0:
                told.positions = <const uint32_t *>places.buf
            told.count = <size_t>places.shape[0]
            return write_presence(cursor, &told)
        finally:
            PyBuffer_Release(&places)
    finally:
        PyBuffer_Release(&times)


cdef bytes write_presence(str cursor, const presence *told):
    cdef Py_ssize_t cursor_size
    cdef const char *cursor_text = PyUnicode_AsUTF8AndSize(cursor, &cursor_size)
    cdef size_t size = 0, bad = 0
    cdef bytes frame
    cdef int result = presence_measure(told, <size_t>cursor_size, &size, &bad)
    if result == PRESENCE_BAD_POSITION:
        raise ValueError(f"position {bad} of {told.ids.count} changes")
    if result != PRESENCE_OK:
        raise ValueError(f"a mark is a reason and a status, not {told.marks[bad]}")
    frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    presence_put(<uint8_t *>PyBytes_AS_STRING(frame), size, told, cursor_text, <size_t>cursor_size)
    return frame


def encode_times(uint32_t msgid, times_ms not None):
    """A response frame of moments; `encoder_python.encode_times` says what it takes and raises."""
    cdef Py_buffer times
    take_column(times_ms, &times, b"q")
    try:
        return write_times(msgid, <const int64_t *>times.buf, <size_t>times.shape[0])
    finally:
        PyBuffer_Release(&times)


cdef bytes write_times(uint32_t msgid, const int64_t *times_ms, size_t count):
    cdef size_t size = 3 + size_of_uint(msgid) + size_of_array(count)
    cdef size_t index
    cdef uint8_t *at
    cdef bytes frame
    for index in range(count):
        size += 1 if times_ms[index] < 0 else size_of_uint(<uint64_t>times_ms[index])
    frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    at = put_array(put_answer(<uint8_t *>PyBytes_AS_STRING(frame), msgid), count)
    for index in range(count):
        if times_ms[index] < 0:
            at[0] = NIL
            at += 1
        else:
            at = put_uint(at, <uint64_t>times_ms[index])
    return frame


def encode_request(msgid, str method not None, params not None):
    """A request frame; `encoder_python.encode_request` says what it takes."""
    if not params or not isinstance(params[0], IdBatch):
        return ENCODE_VALUE((REQUEST, msgid, method, params))
    rest = b"".join([ENCODE_VALUE(param) for param in params[1:]])
    return write_request(msgid, method, len(params), &(<IdBatch>params[0]).c, rest)


cdef bytes write_request(uint32_t msgid, str method, size_t param_count, const ids *batch, bytes rest):
    """A request whose first parameter are these ids; the others are written already."""
    cdef Py_ssize_t method_size
    cdef const char *method_text = PyUnicode_AsUTF8AndSize(method, &method_size)
    cdef size_t rest_size = <size_t>PyBytes_GET_SIZE(rest)
    cdef size_t size = 2 + size_of_uint(msgid) + size_of_text(<size_t>method_size)
    cdef size_t index
    cdef uint8_t *at
    cdef bytes frame
    size += size_of_array(param_count) + size_of_array(batch.count) + rest_size
    for index in range(batch.count):
        size += size_of_id(batch, index)
    frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    at = <uint8_t *>PyBytes_AS_STRING(frame)
    at[0] = 0x94
    at[1] = 0x00
    at = put_text(put_uint(at + 2, msgid), method_text, <size_t>method_size)
    at = put_array(put_array(at, param_count), batch.count)
    for index in range(batch.count):
        at = put_id(at, batch, index)
    memcpy(at, PyBytes_AS_STRING(rest), rest_size)
    return frame


def cut_ids(IdBatch batch not None, size_t count_max, size_t bytes_max):
    """A batch in parts that fit a frame; `encoder_python.cut_ids` says how."""
    cdef list parts = []
    cdef size_t start = 0, index = 0, bytes_used = 0, size
    for index in range(batch.c.count):
        size = size_of_id(&batch.c, index)
        if index > start and (bytes_used + size > bytes_max or index - start == count_max):
            parts.append(part_of(batch, start, index))
            start = index
            bytes_used = 0
        bytes_used += size
    if batch.c.count > 0:
        parts.append(batch if start == 0 else part_of(batch, start, batch.c.count))
    return parts


cdef IdBatch part_of(IdBatch batch, size_t start, size_t stop):
    cdef IdBatch part = IdBatch.__new__(IdBatch)
    cdef size_t index
    cdef int result
    cdef uint32_t *positions = <uint32_t *>malloc((stop - start) * sizeof(uint32_t))
    if positions == NULL:
        raise MemoryError
    for index in range(start, stop):
        positions[index - start] = <uint32_t>index
    result = ids_take(&part.c, &batch.c, positions, stop - start)
    free(positions)
    if result != IDS_OK:
        raise MemoryError
    return part
