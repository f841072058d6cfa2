# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""`IdBatch`, compiled: the ids of one request as C arrays, canonical, in the order asked.

The arrays are in `_ids.h`; here is what Python sees of them. No Python object is kept for an id: it is made when somebody
asks for it. The codec fills the arrays itself (`c`), and the kernel reads their hashes.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
)
from cpython.long cimport PyLong_AsUnsignedLongLong, PyLong_CheckExact
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_CheckExact, PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8

from presencedb.errors import BadRequest
from presencedb.ids.canonical import canonical_id


cdef tuple UNSIGNED_FORMATS = (b"Q", b"L")


cdef extern from "presencedb/ids/_text.h" nogil:
    enum: UUID_TEXT_BYTES
    void uuid_write(bits128 bits, char *text)


cdef object id_object(int kind, bits128 value, const char *text):
    """The canonical id in Python, of the bits that `_ids.h` describes; `text` are the bytes of a text."""
    cdef char uuid[36]
    if kind == KIND_TEXT:
        return PyUnicode_DecodeUTF8(text, <Py_ssize_t>value.low, NULL)
    if kind == KIND_UUID:
        uuid_write(value, uuid)
        return PyUnicode_DecodeASCII(uuid, UUID_TEXT_BYTES, NULL)
    return value.low


cdef class IdBatch:
    """The ids of one request. Immutable; an id may occur more than once and then gets an answer each time."""

    def __init__(self, values):
        """Check every value and bring it to its canonical form.

        A buffer of unsigned 64-bit integers (`array('Q')`, a numpy array) is taken over without an object for each.

        Raises:
            BadRequest: a value is not an id; the message names its index in the batch. Nothing is kept.
        """
        ids_clear(&self.c)
        if PyObject_CheckBuffer(values) and self._append_buffer(values):
            return
        try:
            for value in values:
                self.append(value)
        except BadRequest as error:
            index = self.c.count
            ids_clear(&self.c)
            raise BadRequest(f"id {index} of the batch: {error.message}") from None

    def __dealloc__(self):
        ids_clear(&self.c)

    @classmethod
    def of_canonical(cls, list values not None):
        """A batch of ids that are known to be canonical; the list belongs to the batch from now on."""
        return cls(values)

    @classmethod
    def joined(cls, list batches not None):
        """The ids of several batches, one after the other."""
        cdef IdBatch joined = IdBatch.__new__(IdBatch)
        cdef IdBatch batch
        for batch in batches:
            if ids_append_all(&joined.c, &batch.c) != IDS_OK:
                raise MemoryError
        return joined

    cdef int append(self, object value) except -1:
        """Append an id in its canonical form; `BadRequest` where it is none."""
        cdef Py_ssize_t size
        cdef const char *text
        cdef int result
        try:
            if PyLong_CheckExact(value):
                result = ids_append_int(&self.c, PyLong_AsUnsignedLongLong(value))
            elif PyUnicode_CheckExact(value):
                text = PyUnicode_AsUTF8AndSize(value, &size)
                result = ids_append_text(&self.c, text, <size_t>size)
            else:
                result = IDS_OK
                canonical_id(value)
        except (OverflowError, UnicodeEncodeError):
            canonical_id(value)
            raise
        if result == IDS_NO_MEMORY:
            raise MemoryError
        if result != IDS_OK:
            canonical_id(value)
        return 0

    cdef int append_utf8(self, const char *text, size_t size) except -1:
        """Append an id that came as bytes of text; `BadRequest` where it is none."""
        cdef int result = ids_append_text(&self.c, text, size)
        if result == IDS_OK:
            return 0
        if result == IDS_NO_MEMORY:
            raise MemoryError
        try:
            value = PyUnicode_DecodeUTF8(text, <Py_ssize_t>size, NULL)
        except UnicodeDecodeError:
            raise BadRequest("a text id is valid UTF-8") from None
        canonical_id(value)
        return 0

    cdef bint _append_buffer(self, object values) except -1:
        """Append all of a buffer of unsigned 64-bit integers; False where it is a buffer of something else."""
        cdef Py_buffer view
        cdef int result
        PyObject_GetBuffer(values, &view, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            if view.ndim != 1 or view.itemsize != 8 or view.format not in UNSIGNED_FORMATS:
                return False
            result = ids_append_ints(&self.c, <const char *>view.buf, view.strides[0], <size_t>view.shape[0])
        finally:
            PyBuffer_Release(&view)
        if result != IDS_OK:
            raise MemoryError
        return True

    def __len__(self):
        return <Py_ssize_t>self.c.count

    def __iter__(self):
        cdef size_t index
        for index in range(self.c.count):
            yield self._object(index)

    def __getitem__(self, Py_ssize_t index):
        if index < 0:
            index += <Py_ssize_t>self.c.count
        if not 0 <= index < <Py_ssize_t>self.c.count:
            raise IndexError("batch index out of range")
        return self._object(<size_t>index)

    def take(self, positions):
        """The ids at these positions (an `array('I')`), in that order, as a batch of their own.

        Raises:
            IndexError: a position is past the end.
            ValueError: not an array of that type.
        """
        cdef Py_buffer view
        cdef IdBatch taken = IdBatch.__new__(IdBatch)
        cdef int result
        PyObject_GetBuffer(positions, &view, PyBUF_ND | PyBUF_FORMAT)
        try:
            if view.ndim != 1 or view.format != b"I":
                raise ValueError("positions have the type code 'I'")
            result = ids_take(&taken.c, &self.c, <const uint32_t *>view.buf, <size_t>view.shape[0])
        finally:
            PyBuffer_Release(&view)
        if result == IDS_BAD_POSITION:
            raise IndexError("batch index out of range")
        if result != IDS_OK:
            raise MemoryError
        return taken

    @property
    def size_bytes(self):
        """Memory of the ids and their texts; hashes, made when first asked for, are not counted."""
        return <Py_ssize_t>(self.c.capacity * (sizeof(uint8_t) + sizeof(bits128)) + self.c.texts_capacity)

    def __repr__(self):
        return f"IdBatch({list(self)!r})"

    cdef object _object(self, size_t index):
        cdef const char *text = self.c.texts + self.c.values[index].high if self.c.kinds[index] == KIND_TEXT else NULL
        return id_object(self.c.kinds[index], self.c.values[index], text)


def hashes(IdBatch batch not None, uint64_t seed):
    """What `Hasher.place` says of each id: its kind, and its hash shifted left to 128 bits."""
    cdef hash_keys keys
    cdef size_t index
    hash_keys_init(&keys, seed)
    if ids_hash(&batch.c, &keys) != IDS_OK:
        raise MemoryError
    return [
        (batch.c.kinds[index], <object>batch.c.hashes[index].high << 64 | batch.c.hashes[index].low)
        for index in range(batch.c.count)
    ]


def unhashed(IdBatch batch not None, uint64_t seed):
    """The ids, computed back from their hashes as the kernel does it; None for a text, of which the hash says nothing."""
    cdef hash_keys keys
    cdef size_t index
    hash_keys_init(&keys, seed)
    if ids_hash(&batch.c, &keys) != IDS_OK:
        raise MemoryError
    return [
        None
        if batch.c.kinds[index] == KIND_TEXT
        else id_object(batch.c.kinds[index], value_of_hash(&keys, batch.c.kinds[index], batch.c.hashes[index]), NULL)
        for index in range(batch.c.count)
    ]


def batch_of_utf8(list texts not None):
    """A batch of ids that came as bytes of text, the way the codec makes one.

    Raises:
        BadRequest: an item is not the text of an id.
    """
    cdef IdBatch batch = IdBatch(())
    cdef bytes text
    for text in texts:
        batch.append_utf8(text, <size_t>len(text))
    return batch
