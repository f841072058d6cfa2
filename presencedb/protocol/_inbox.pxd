# Bytes as they came, for the two decoders: `_inbox.h`, and what Python's objects are to it.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t


cdef extern from "presencedb/protocol/_wire.h" nogil:
    enum: WIRE_OK

    struct wire:
        const uint8_t *at
        const uint8_t *end


cdef extern from "presencedb/protocol/_inbox.h" nogil:
    enum: INBOX_FRAME
    enum: INBOX_MORE
    enum: INBOX_BAD
    enum: INBOX_TOO_LARGE
    enum: INBOX_NO_MEMORY

    struct inbox:
        uint8_t *data
        size_t start, end
        bint partial

    void inbox_free(inbox *inbox)
    bint inbox_feed(inbox *inbox, const void *bytes, size_t size)
    void inbox_tidy(inbox *inbox)
    wire inbox_wire(const inbox *inbox)
    int inbox_look(inbox *inbox, size_t frame_bytes_max, uint32_t depth_max, size_t *size)


cdef inline int take_in(inbox *box, object data) except -1:
    """Append a copy of the bytes of any buffer."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not inbox_feed(box, view.buf, <size_t>view.len):
            raise MemoryError
    finally:
        PyBuffer_Release(&view)
    return 0


cdef inline bytes take_frame(inbox *box, size_t size):
    """The frame at `start`, which is read by this."""
    cdef bytes frame = PyBytes_FromStringAndSize(<char *>box.data + box.start, <Py_ssize_t>size)
    box.start += size
    return frame
