"""What an id is: canonical forms, the hash, and `IdBatch`, the ids of one request."""

from typing import TYPE_CHECKING

from presencedb.ids.canonical import Id, canonical_id, canonical_json_id, id_text, uuid_bits, uuid_text
from presencedb.ids.hashing import Hasher, IdKind, Place
from presencedb.implementation import compiled_module

if TYPE_CHECKING:
    from presencedb.ids.batch_python import IdBatch
else:
    _compiled = compiled_module("presencedb.ids._batch")
    if _compiled is None:
        from presencedb.ids.batch_python import IdBatch
    else:
        IdBatch = _compiled.IdBatch

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
