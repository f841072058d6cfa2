# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""The ring's loops over slots and ids, compiled: ranks, tables of owners, a batch by owner, answers back into order.

`ranks.py`, `split.py` and `merge.py` are the twins, and say what each function promises. The loops are in the headers of the
same names; here arguments are checked and converted. No Python object is made for an id.
"""

from cpython cimport array
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from array import array as new_array

from presencedb import limits
from presencedb.placement import ranks
from presencedb.placement.split import Part

from presencedb.ids._batch cimport IDS_OK, IdBatch, hash_keys, hash_keys_init, ids, ids_hash, ids_take


cdef extern from "presencedb/placement/_ranks.h" nogil:
    enum: SLOT_BITS
    enum: SLOT_COUNT
    enum: SLOT_SET_BYTES
    enum: OWNERS_MAX
    enum: MEMBER_ID_BYTES_MAX
    enum: NO_MEMBER
    enum: FRACTION_BITS
    enum: TABLE_BITS
    enum: INTERPOLATED_BITS

    struct contender:
        unsigned char *text
        uint8_t id_size
        uint16_t member
        uint32_t weight

    uint64_t distance(const uint64_t *table, uint64_t hash)
    void rank_slots(uint16_t *cells, size_t depth, contender *contenders, size_t count, const uint64_t *table)
    long stranger_in(const uint16_t *cells, size_t depth, size_t member_count)
    void join_slots(uint16_t *to, const uint16_t *old_cells, size_t old_depth, const uint16_t *old_indexes,
                    const uint16_t *new_cells, size_t new_depth, const uint16_t *new_indexes)
    void fill_bitmaps(uint8_t *bitmaps, const uint16_t *cells, size_t depth)


cdef extern from "presencedb/placement/_split.h" nogil:
    enum: SPLIT_OK
    enum: SPLIT_BAD_POSITION
    enum: SPLIT_BAD_MEMBER

    struct owners:
        const uint16_t *cells
        size_t depth, member_count
        const uint8_t *mask

    struct split:
        size_t *starts
        uint32_t *positions

    void split_free(split *split)
    int split_by_first(split *split, const owners *owners, const ids *ids, const uint32_t *positions, size_t count,
                       size_t rank)
    int split_by_all(split *split, const owners *owners, const ids *ids)
    size_t count_outside(const ids *ids, const uint8_t *bitmap)
    void list_outside(uint32_t *positions, const ids *ids, const uint8_t *bitmap)
    void mark_slots(uint8_t *bitmap, const ids *ids)


cdef extern from "presencedb/placement/_merge.h" nogil:
    bint positions_are_below(const uint32_t *positions, size_t count, size_t bound)
    bint statuses_are_valid(const uint8_t *statuses, size_t count)
    void merge_known(uint8_t *into, const uint32_t *positions, const uint8_t *part, size_t count)
    size_t find_unknown(uint32_t *unknown, const uint8_t *into, const uint32_t *positions, size_t count)
    void merge_later(int64_t *into, const uint32_t *positions, const int64_t *part, size_t count)


assert (limits.SLOT_BITS, limits.OWNERS_MAX, limits.MEMBER_ID_BYTES_MAX) == (SLOT_BITS, OWNERS_MAX, MEMBER_ID_BYTES_MAX)
assert (ranks.FRACTION_BITS, ranks.TABLE_BITS, ranks.INTERPOLATED_BITS) == (FRACTION_BITS, TABLE_BITS, INTERPOLATED_BITS)
assert ranks.NO_MEMBER == NO_MEMBER

cdef array.array POSITIONS = new_array("I")
cdef uint64_t MEMBER_INDEXES = NO_MEMBER
cdef uint32_t WEIGHT_MAX = limits.WEIGHT_MAX


# --- slots -----------------------------------------------------------------------------------------------------------


def distance_of(uint64_t hash_value):
    """`ranks.distance`, for the tests: few hashes of a member and a slot are at the ends of the range."""
    cdef array.array table = ranks.log2_table()
    return distance(<const uint64_t *>table.data.as_ulonglongs, hash_value)


def rank_members(members, Py_ssize_t depth):
    """`ranks.rank_members`."""
    cdef array.array table = ranks.log2_table()
    cdef size_t count = 0
    cdef bytes text
    cdef bytes cells
    cdef uint16_t *to
    cdef contender *contenders
    if not 0 < depth <= OWNERS_MAX or <uint64_t>len(members) >= MEMBER_INDEXES:
        raise ValueError(f"{depth} ranks of {len(members)} members cannot be told apart")
    contenders = <contender *>calloc(<size_t>len(members) + 1, sizeof(contender))
    if contenders == NULL:
        raise MemoryError
    try:
        for index, (name, weight) in enumerate(members):
            text = name.encode("ascii")
            if len(text) > MEMBER_ID_BYTES_MAX or not 0 <= weight <= WEIGHT_MAX:
                raise ValueError(f"id or weight of member {index} is out of range")
            if weight:
                memcpy(contenders[count].text, PyBytes_AS_STRING(text), <size_t>len(text))
                contenders[count].id_size = <uint8_t>len(text)
                contenders[count].member = <uint16_t>index
                contenders[count].weight = <uint32_t>weight
                count += 1
        cells = PyBytes_FromStringAndSize(NULL, SLOT_COUNT * depth * <Py_ssize_t>sizeof(uint16_t))
        to = <uint16_t *>PyBytes_AS_STRING(cells)
        with nogil:
            rank_slots(to, <size_t>depth, contenders, count, <const uint64_t *>table.data.as_ulonglongs)
    finally:
        free(contenders)
    return cells


def join_owners(old, new):
    """`ranks.join_owners`."""
    cdef bytes cells
    cdef bytes old_bytes = old.cells
    cdef bytes new_bytes = new.cells
    cdef Py_ssize_t old_depth = old.depth
    cdef Py_ssize_t new_depth = new.depth
    cdef array.array old_indexes = old.indexes
    cdef array.array new_indexes = new.indexes
    cdef const uint16_t *old_cells = checked_cells(old_bytes, old_depth, len(old_indexes))
    cdef const uint16_t *new_cells = checked_cells(new_bytes, new_depth, len(new_indexes))
    if old_indexes.typecode != "H" or new_indexes.typecode != "H":
        raise ValueError("indexes of members have the type code 'H'")
    cells = PyBytes_FromStringAndSize(NULL, SLOT_COUNT * (old_depth + new_depth) * <Py_ssize_t>sizeof(uint16_t))
    join_slots(<uint16_t *>PyBytes_AS_STRING(cells), old_cells, <size_t>old_depth, old_indexes.data.as_ushorts, new_cells,
               <size_t>new_depth, new_indexes.data.as_ushorts)
    return cells


def owner_bitmaps(bytes cells not None, Py_ssize_t depth, Py_ssize_t member_count):
    """`ranks.owner_bitmaps`."""
    cdef const uint16_t *rows = checked_cells(cells, depth, member_count)
    cdef bytes bitmaps = PyBytes_FromStringAndSize(NULL, member_count * SLOT_SET_BYTES)
    memset(PyBytes_AS_STRING(bitmaps), 0, <size_t>len(bitmaps))
    fill_bitmaps(<uint8_t *>PyBytes_AS_STRING(bitmaps), rows, <size_t>depth)
    return bitmaps


cdef const uint16_t *checked_cells(bytes cells, Py_ssize_t depth, Py_ssize_t member_count) except NULL:
    cdef long stranger
    cdef const uint16_t *rows = sized_cells(cells, depth)
    stranger = stranger_in(rows, <size_t>depth, <size_t>member_count)
    if stranger >= 0:
        raise ValueError(f"a table of {member_count} members names member {stranger}")
    return rows


cdef const uint16_t *sized_cells(bytes cells, Py_ssize_t depth) except NULL:
    if not 0 <= depth <= OWNERS_MAX or len(cells) != SLOT_COUNT * depth * <Py_ssize_t>sizeof(uint16_t):
        raise ValueError(f"a table of {depth} ranks has {SLOT_COUNT * depth} cells, not {len(cells) // sizeof(uint16_t)}")
    return <const uint16_t *>PyBytes_AS_STRING(cells)


# --- a batch by owner ------------------------------------------------------------------------------------------------


def split_reads(IdBatch batch not None, uint64_t seed, table, Py_ssize_t rank=0, positions=None, *, bytes mask=None):
    """`split.split_reads`."""
    cdef owners look = owners_in(table, mask)
    cdef split made = split(NULL, NULL)
    cdef Py_buffer view
    cdef int result
    if rank < 0:
        raise ValueError(f"a rank is not negative, as {rank} is")
    if positions is not None:
        take_column(positions, &view, b"I")
        try:
            if view.shape[0] == 0:
                return []
            hash_ids(batch, seed)
            result = split_by_first(&made, &look, &batch.c, <const uint32_t *>view.buf, <size_t>view.shape[0], <size_t>rank)
            return parts_of(batch, &made, result, look.member_count, False)
        finally:
            PyBuffer_Release(&view)
            split_free(&made)
    if rank == 0 and batch.c.count > 0 and is_for_the_lone(table, &look):
        return [whole(batch, table.lone)]
    hash_ids(batch, seed)
    try:
        result = split_by_first(&made, &look, &batch.c, NULL, batch.c.count, <size_t>rank)
        return parts_of(batch, &made, result, look.member_count, True)
    finally:
        split_free(&made)


def split_writes(IdBatch batch not None, uint64_t seed, table, *, bytes mask=None):
    """`split.split_writes`."""
    cdef owners look = owners_in(table, mask)
    cdef split made = split(NULL, NULL)
    cdef int result
    if batch.c.count > 0 and is_for_the_lone(table, &look):
        return [whole(batch, table.lone)]
    hash_ids(batch, seed)
    try:
        result = split_by_all(&made, &look, &batch.c)
        return parts_of(batch, &made, result, look.member_count, True)
    finally:
        split_free(&made)


def positions_outside(IdBatch batch not None, uint64_t seed, bytes bitmap not None):
    """`split.positions_outside`."""
    cdef const uint8_t *slots = <const uint8_t *>PyBytes_AS_STRING(bitmap)
    cdef array.array positions
    cdef size_t count
    if PyBytes_GET_SIZE(bitmap) != SLOT_SET_BYTES:
        raise ValueError(f"a bitmap of slots has {SLOT_SET_BYTES} bytes, not {len(bitmap)}")
    hash_ids(batch, seed)
    count = count_outside(&batch.c, slots)
    if count == 0:
        return None
    positions = array.clone(POSITIONS, <Py_ssize_t>count, False)
    list_outside(positions.data.as_uints, &batch.c, slots)
    return positions


def slots_of(IdBatch batch not None, uint64_t seed):
    """`split.slots_of`."""
    cdef bytes bitmap = PyBytes_FromStringAndSize(NULL, SLOT_SET_BYTES)
    memset(PyBytes_AS_STRING(bitmap), 0, SLOT_SET_BYTES)
    hash_ids(batch, seed)
    mark_slots(<uint8_t *>PyBytes_AS_STRING(bitmap), &batch.c)
    return bitmap


cdef owners owners_in(table, bytes mask) except *:
    """A look into a table that holds as long as the table and the mask do."""
    cdef Py_ssize_t depth = table.depth
    cdef Py_ssize_t member_count = len(table.members)
    cdef bytes cells = table.cells
    cdef const uint8_t *asked = NULL
    if mask is not None:
        if len(mask) != member_count:
            raise ValueError(f"the mask of {member_count} members has as many bytes, not {len(mask)}")
        asked = <const uint8_t *>PyBytes_AS_STRING(mask)
    return owners(sized_cells(cells, depth), <size_t>depth, <size_t>member_count, asked)


cdef bint is_for_the_lone(table, const owners *look) except -1:
    """Whether one member owns all slots alone, and is not left out."""
    cdef size_t lone = table.lone
    return lone < look.member_count and (look.mask == NULL or look.mask[lone] != 0)


cdef int hash_ids(IdBatch batch, uint64_t seed) except -1:
    cdef hash_keys keys
    if batch.c.count > 0xFFFFFFFF:
        raise ValueError(f"a batch of {batch.c.count} ids is not split, its positions have 32 bits")
    hash_keys_init(&keys, seed)
    if ids_hash(&batch.c, &keys) != IDS_OK:
        raise MemoryError
    return 0


cdef object whole(IdBatch batch, member):
    """The part of a member that gets the whole batch."""
    cdef array.array positions = array.clone(POSITIONS, <Py_ssize_t>batch.c.count, False)
    cdef uint32_t index
    for index in range(<uint32_t>batch.c.count):
        positions.data.as_uints[index] = index
    return Part(member, batch, positions)


cdef list parts_of(IdBatch batch, const split *made, int result, size_t member_count, bint in_order):
    """The parts; `in_order`: the ids come in the order of the batch, and each at most once in a part."""
    cdef list parts = []
    cdef size_t part, size
    cdef const uint32_t *first
    cdef array.array positions
    cdef IdBatch part_ids
    if result == SPLIT_BAD_POSITION:
        raise IndexError("batch index out of range")
    if result == SPLIT_BAD_MEMBER:
        raise ValueError(f"a table of {member_count} members names another one")
    if result != SPLIT_OK:
        raise MemoryError
    for part in range(member_count + 1):
        first = made.positions + made.starts[part]
        size = made.starts[part + 1] - made.starts[part]
        if size == 0:
            continue
        positions = array.clone(POSITIONS, <Py_ssize_t>size, False)
        memcpy(positions.data.as_uints, first, size * sizeof(uint32_t))
        part_ids = batch
        if not in_order or size != batch.c.count:
            part_ids = IdBatch.__new__(IdBatch)
            if ids_take(&part_ids.c, &batch.c, first, size) != IDS_OK:
                raise MemoryError
        parts.append(Part(part if part < member_count else <size_t>NO_MEMBER, part_ids, positions))
    return parts


# --- answers back into order -----------------------------------------------------------------------------------------


def merge_statuses(bytearray into not None, positions, bytes part not None):
    """`merge.merge_statuses`."""
    cdef Py_buffer places
    cdef array.array unknown
    cdef size_t left, count = <size_t>PyBytes_GET_SIZE(part)
    cdef uint8_t *statuses
    take_column(positions, &places, b"I")
    try:
        statuses = <uint8_t *>PyByteArray_AS_STRING(into)
        check_positions(&places, part, into)
        if not statuses_are_valid(<const uint8_t *>PyBytes_AS_STRING(part), count):
            raise ValueError(f"a status is 0, 1 or 2, not {max(part)}")
        merge_known(statuses, <const uint32_t *>places.buf, <const uint8_t *>PyBytes_AS_STRING(part), count)
        left = find_unknown(NULL, statuses, <const uint32_t *>places.buf, count)
        unknown = array.clone(POSITIONS, <Py_ssize_t>left, False)
        if left > 0:
            find_unknown(unknown.data.as_uints, statuses, <const uint32_t *>places.buf, count)
    finally:
        PyBuffer_Release(&places)
    return unknown


def merge_times(array.array into not None, positions, array.array part not None):
    """`merge.merge_times`."""
    cdef Py_buffer places
    if into.typecode != "q" or part.typecode != "q":
        raise ValueError("times have the type code 'q'")
    take_column(positions, &places, b"I")
    try:
        check_positions(&places, part, into)
        merge_later(<int64_t *>into.data.as_longlongs, <const uint32_t *>places.buf,
                    <const int64_t *>part.data.as_longlongs, <size_t>places.shape[0])
    finally:
        PyBuffer_Release(&places)


cdef int check_positions(const Py_buffer *places, part, into) except -1:
    cdef Py_ssize_t count = places.shape[0]
    if count != len(part):
        raise ValueError(f"{count} ids were asked about, the answer has {len(part)}")
    if not positions_are_below(<const uint32_t *>places.buf, <size_t>count, <size_t>len(into)):
        greatest = max((<const uint32_t *>places.buf)[index] for index in range(count))
        raise ValueError(f"position {greatest} is past the end of a batch of {len(into)}")
    return 0


cdef int take_column(object column, Py_buffer *view, const char *format) except -1:
    """Look into an array of integers of this type code; to be released."""
    PyObject_GetBuffer(column, view, PyBUF_ND | PyBUF_FORMAT)
    if view.ndim != 1 or view.format[0] != format[0] or view.format[1] != 0:
        PyBuffer_Release(view)
        raise ValueError("positions have the type code 'I'")
    return 0
