"""Hypothesis strategies for what the whole project speaks of: ids of every kind, what only looks like one, ticks, ages."""

from __future__ import annotations

import uuid
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from presencedb.ids import Id
from presencedb.limits import ID_INT_MAX, ID_TEXT_BYTES_MAX, TICK_MAX

NEAR_DECIMAL_TEXTS: Final = (
    "00",
    "042",
    "+42",
    "-1",
    "-0",
    " 42",
    "42 ",
    "4 2",
    "42\n",
    "\t42",
    "4_2",
    "42.0",
    "4e2",
    "0x2a",
    "0b1",
    "٤٢",
    "४२",
    "\uff14\uff12",
    "4\uff12",
    "²",
    "½",
    "Ⅷ",
    "\u221242",
    "42\u200b",
    "\ufeff42",
    str(ID_INT_MAX + 1),
    "99999999999999999999",
    "018446744073709551615",
    "1" * ID_TEXT_BYTES_MAX,
)
"""Texts that a careless parser takes for an integer id. Each is a user of its own, named by exactly this text."""

NEAR_UUID_TEXTS: Final = (
    "0192F0C1-2B3C-7D4E-8F50-61728394A5B6",
    "0192f0c1-2b3c-7d4e-8f50-61728394a5B6",
    "0192f0c12b3c7d4e8f5061728394a5b6",
    "{0192f0c1-2b3c-7d4e-8f50-61728394a5b6}",
    "urn:uuid:0192f0c1-2b3c-7d4e-8f50-61728394a5b6",
    "0192f0c1-2b3c-7d4e-8f50-61728394a5b",
    "0192f0c1-2b3c-7d4e-8f50-61728394a5b6 ",
    "0192f0c1-2b3c-7d4e-8f50-61728394a5bg",
    "0192f0c1_2b3c_7d4e_8f50_61728394a5b6",
    "0192f0c12-b3c-7d4e-8f50-61728394a5b6",
    "\uff10192f0c1-2b3c-7d4e-8f50-61728394a5b6",
)
"""Texts that mean a UUID to a person, but are not its canonical text."""

NOT_TEXT_IDS: Final = ("", "\0", "a\0", "\0a", "\ud800", "a\udfff", "a" * (ID_TEXT_BYTES_MAX + 1), "é" * 128, "1" * 256)
"""Texts that are no id at all."""

NOT_IDS: Final[tuple[object, ...]] = (
    True,
    False,
    None,
    1.0,
    42.5,
    float("nan"),
    b"42",
    bytearray(b"a"),
    [],
    [1],
    (),
    {},
    -1,
    ID_INT_MAX + 1,
    -(10**400),
)
"""Values of other kinds, and integers out of range."""


def _is_text_id(text: str) -> bool:
    return 1 <= len(text.encode()) <= ID_TEXT_BYTES_MAX


def integers32() -> SearchStrategy[int]:
    return st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 42, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]))


def integers64() -> SearchStrategy[int]:
    return st.one_of(
        st.integers(2**32, ID_INT_MAX), st.sampled_from([2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, ID_INT_MAX])
    )


def uuid_texts() -> SearchStrategy[str]:
    return st.one_of(st.integers(0, 2**128 - 1), st.sampled_from([0, 2**128 - 1])).map(lambda bits: str(uuid.UUID(int=bits)))


def plain_texts() -> SearchStrategy[str]:
    """Valid text of any script, decimals and UUIDs included."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.one_of(
        st.text(characters, min_size=1, max_size=40),
        st.text("abz09-_:é😀", min_size=1, max_size=ID_TEXT_BYTES_MAX),
        st.sampled_from(
            ["a", "a" * ID_TEXT_BYTES_MAX, "é" * 127, "é" * 127 + "a", "😀" * 63, *NEAR_DECIMAL_TEXTS, *NEAR_UUID_TEXTS]
        ),
    ).filter(_is_text_id)


def decimal_texts() -> SearchStrategy[str]:
    """Canonical decimals of integer ids."""
    return st.one_of(integers32(), integers64()).map(str)


def given_ids() -> SearchStrategy[int | str]:
    """What a caller may name a user by, canonical or not."""
    return st.one_of(integers32(), integers64(), uuid_texts(), plain_texts(), decimal_texts())


def ids() -> SearchStrategy[Id]:
    """Canonical ids of all four kinds."""
    return st.one_of(integers32(), integers64(), uuid_texts(), plain_texts().filter(lambda text: not is_decimal_id(text)))


def is_decimal_id(text: str) -> bool:
    """Whether a text names an integer id, said in another way than `canonical_id` does."""
    return text.encode().isdigit() and str(int(text)) == text and int(text) <= ID_INT_MAX


def seeds() -> SearchStrategy[int]:
    return st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1]))


def start_ticks() -> SearchStrategy[int]:
    """Where an engine's time begins: often so near to 0 that ages reach below it."""
    return st.one_of(st.integers(0, 12), st.sampled_from([1_000, 2**30, TICK_MAX // 2]))


def distances(ttl_ticks: int) -> SearchStrategy[int]:
    """Numbers of ticks, for ages and graces and steps of time: mostly around those at which something happens."""
    edges = sorted({d for base in (0, ttl_ticks, 2 * ttl_ticks) for d in range(base - 1, base + 3) if d >= 0})
    return st.one_of(
        st.sampled_from(edges), st.integers(0, 2 * ttl_ticks + 2), st.sampled_from([0, 1, 10 * ttl_ticks, 10_000])
    )
