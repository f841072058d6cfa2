# The C face of `IdBatch`, for the kernel and the codec.

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "presencedb/ids/_hash.h" nogil:
    enum: KIND_INT32
    enum: KIND_INT64
    enum: KIND_UUID
    enum: KIND_TEXT

    struct bits128:
        uint64_t high
        uint64_t low

    struct hash_keys:
        uint64_t seed
        uint64_t key[8]

    void hash_keys_init(hash_keys *keys, uint64_t seed)
    bits128 value_of_hash(const hash_keys *keys, int kind, bits128 hash)


cdef extern from "presencedb/ids/_ids.h" nogil:
    enum: IDS_OK
    enum: IDS_NO_MEMORY
    enum: IDS_BAD_POSITION

    struct ids:
        size_t count, capacity
        uint8_t *kinds
        bits128 *values
        bits128 *hashes
        char *texts
        size_t texts_capacity

    void ids_clear(ids *ids)
    int ids_reserve(ids *ids, size_t more)
    int ids_append_int(ids *ids, uint64_t value)
    int ids_append_ints(ids *ids, const char *first, Py_ssize_t stride, size_t count)
    int ids_append_text(ids *ids, const char *text, size_t size)
    int ids_append_all(ids *to, const ids *source)
    int ids_take(ids *to, const ids *source, const uint32_t *positions, size_t count)
    int ids_hash(ids *ids, const hash_keys *keys)


cdef class IdBatch:
    cdef ids c
    cdef int append(self, object value) except -1
    cdef int append_utf8(self, const char *text, size_t size) except -1
    cdef bint _append_buffer(self, object values) except -1
    cdef object _object(self, size_t index)


cdef object id_object(int kind, bits128 value, const char *text)
