"""Ids out of a request target: commas are split before decoding, and what comes out is canonical."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import BadRequest, TooLarge
from presencedb.gateway.ids import read_ids, read_json_ids, read_path_id, read_query
from presencedb.ids import Id, id_text
from presencedb.limits import HTTP_IDS_MAX, JSON_INT_MAX
from tests.support.strategies import ids


@given(st.lists(ids(), min_size=1, max_size=20))
def test_any_list_of_ids_survives_the_url(asked: list[Id]) -> None:
    query = "ids=" + ",".join(quote(id_text(user_id), safe="") for user_id in asked)
    assert read_ids(read_query(query, ("ids",))["ids"]) == list(dict.fromkeys(asked))


@given(ids())
def test_any_id_survives_the_path(user_id: Id) -> None:
    assert read_path_id(quote(id_text(user_id), safe="")) == user_id


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("u1,u2,u3", ["u1", "u2", "u3"]),
        ("42,alice,007", [42, "alice", "007"]),
        ("a%2Cb,c", ["a,b", "c"]),
        ("b,a,b,a", ["b", "a"]),
        ("42,%34%32", [42]),
        ("18446744073709551615,18446744073709551616", [2**64 - 1, "18446744073709551616"]),
        ("a+b,a%20b,a%2Bb", ["a b", "a+b"]),
        ("j%C3%BCrgen,jürgen", ["jürgen"]),
        ("-1,1.5,true", ["-1", "1.5", "true"]),
    ],
)
def test_lists_by_example(raw: str, expected: list[Id]) -> None:
    assert read_ids([raw]) == expected


def test_repeated_parameter_goes_on_with_the_list() -> None:
    assert read_ids(read_query("ids=a,b&ids=c&ids=a", ("ids",))["ids"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "raw", ["", ",", "a,", ",a", "a,,b", "%", "%4", "%zz", "%FF", "a%00b", "%ED%A0%80", "\udcff", "x" * 256]
)
def test_what_is_no_id_is_refused(raw: str) -> None:
    with pytest.raises(BadRequest, match=r"id [01] of the list"):
        read_ids([raw])


def test_path_plus_is_a_plus() -> None:
    assert read_path_id("a+b") == "a+b"
    assert read_path_id("%2F%2E%2E%2F") == "/../"
    assert read_path_id(".") == "."


def test_unknown_parameter_is_named() -> None:
    with pytest.raises(BadRequest, match="no such query parameter: 'idz'; this call takes: ids"):
        read_query("idz=1", ("ids",))
    with pytest.raises(BadRequest, match="this call takes: none"):
        read_query("ids=1", ())
    assert read_query("", ("ids",)) == {}


def test_number_of_ids_is_bounded() -> None:
    assert len(read_json_ids(list(range(HTTP_IDS_MAX)))) == HTTP_IDS_MAX
    with pytest.raises(TooLarge, match="at most 10000 ids, not 10001"):
        read_json_ids(list(range(HTTP_IDS_MAX + 1)))
    with pytest.raises(BadRequest, match="at least one"):
        read_json_ids([])


def test_json_numbers_that_may_have_lost_digits_are_refused() -> None:
    assert read_json_ids([JSON_INT_MAX, "18446744073709551615"]) == [JSON_INT_MAX, 2**64 - 1]
    for number in (JSON_INT_MAX + 1, -1, 2**200):
        with pytest.raises(BadRequest, match="id 1 of the list"):
            read_json_ids([1, number])
