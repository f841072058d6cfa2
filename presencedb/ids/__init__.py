"""What an id is: canonical forms, the hash, and `IdBatch`, the ids of one request."""

from presencedb.ids.batch_python import IdBatch
from presencedb.ids.canonical import Id, canonical_id, canonical_json_id, id_text, uuid_bits, uuid_text
from presencedb.ids.hashing import Hasher, IdKind, Place

__all__ = [
    "Hasher",
    "Id",
    "IdBatch",
    "IdKind",
    "Place",
    "canonical_id",
    "canonical_json_id",
    "id_text",
    "uuid_bits",
    "uuid_text",
]
