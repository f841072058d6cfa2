"""One user, one id: whatever form an id comes in, and whatever it goes out as, it is the same on every interface."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from presencedb.errors import BadRequest
from presencedb.ids import Id, canonical_id, canonical_json_id, id_text, uuid_bits, uuid_text
from presencedb.limits import ID_INT_MAX, ID_TEXT_BYTES_MAX, JSON_INT_MAX
from tests.support import strategies
from tests.support.strategies import NEAR_DECIMAL_TEXTS, NEAR_UUID_TEXTS, NOT_IDS, NOT_TEXT_IDS


@given(strategies.given_ids())
def test_what_came_in_comes_out(given_id: int | str) -> None:
    assert id_text(canonical_id(given_id)) == str(given_id)


@given(strategies.given_ids())
def test_canonical_form_is_final(given_id: int | str) -> None:
    canonical = canonical_id(given_id)
    again = canonical_id(canonical)
    assert again == canonical
    assert type(again) is type(canonical)
    assert canonical_id(id_text(canonical)) == canonical
    assert canonical_json_id(id_text(canonical)) == canonical


@given(strategies.given_ids(), strategies.given_ids())
@example(42, "42")
@example(42, "042")
@example("42", "\uff14\uff12")
def test_two_ids_are_one_user_exactly_if_their_texts_are_equal(first: int | str, second: int | str) -> None:
    assert (canonical_id(first) == canonical_id(second)) == (str(first) == str(second))


@given(strategies.plain_texts())
def test_text_becomes_an_integer_exactly_if_it_is_the_decimal_of_one(text: str) -> None:
    assert isinstance(canonical_id(text), int) == strategies.is_decimal_id(text)


@pytest.mark.parametrize("number", [0, 7, 42, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**63, ID_INT_MAX])
def test_the_decimal_of_an_integer_is_the_integer(number: int) -> None:
    assert canonical_id(str(number)) == number
    assert canonical_id(number) == number


@pytest.mark.parametrize("text", NEAR_DECIMAL_TEXTS)
def test_text_that_only_looks_like_a_decimal_stays_text(text: str) -> None:
    assert canonical_id(text) == text
    assert canonical_id(text) != 42


@pytest.mark.parametrize("text", NEAR_UUID_TEXTS)
def test_text_that_only_means_a_uuid_is_not_one(text: str) -> None:
    assert canonical_id(text) == text
    assert uuid_bits(text) is None


@given(st.integers(0, 2**128 - 1))
def test_uuid_text_and_bits_are_inverse(bits: int) -> None:
    text = str(uuid.UUID(int=bits))
    assert uuid_text(bits) == text
    assert uuid_bits(text) == bits
    assert canonical_id(text) == text


@pytest.mark.parametrize("text", NOT_TEXT_IDS)
def test_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="a text id"):
        canonical_id(text)
    with pytest.raises(BadRequest, match="a text id"):
        canonical_json_id(text)


@pytest.mark.parametrize("value", NOT_IDS, ids=lambda value: repr(value)[:40])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(BadRequest, match="id"):
        canonical_id(value)
    with pytest.raises(BadRequest, match="id"):
        canonical_json_id(value)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (True, "a boolean"),
        (1.5, "a float"),
        (b"x", "binary data"),
        (None, "nil"),
        ([1], "an array"),
        ({}, "a map"),
        (-1, "-1"),
        (2**64, str(2**64)),
        ("a" * 256, "256"),
        ("", "0"),
        ("\0", "NUL"),
        ("\ud800", "UTF-8"),
    ],
)
def test_a_refusal_says_what_was_wrong(value: object, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        canonical_id(value)


def test_a_refusal_does_not_repeat_a_number_of_a_million_digits() -> None:
    with pytest.raises(BadRequest) as caught:
        canonical_id(1 << 4_000_000)
    assert len(caught.value.message) < 200


def test_length_counts_in_bytes_of_utf8() -> None:
    assert canonical_id("a" * ID_TEXT_BYTES_MAX) == "a" * ID_TEXT_BYTES_MAX
    assert canonical_id("é" * 127 + "a")
    with pytest.raises(BadRequest, match="256"):
        canonical_id("é" * 128)
    with pytest.raises(BadRequest, match="256"):
        canonical_id("😀" * 64)


@pytest.mark.parametrize("number", [0, 42, 2**32, 2**53 - 1])
def test_a_json_number_that_kept_its_digits_is_taken(number: int) -> None:
    assert canonical_json_id(number) == number


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, 2**63, ID_INT_MAX, 2**64])
def test_a_json_number_that_may_have_lost_digits_is_refused(number: int) -> None:
    """2^53 itself is what JavaScript sends for 2^53 + 1."""
    with pytest.raises(BadRequest, match=f"above {JSON_INT_MAX} .* as text"):
        canonical_json_id(number)


@given(strategies.ids())
def test_json_takes_every_id_as_text(user_id: Id) -> None:
    assert canonical_json_id(id_text(user_id)) == user_id
