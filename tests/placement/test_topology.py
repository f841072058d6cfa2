"""A topology says what is wrong with it, whoever made it, and comes over the wire unchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import BadRequest, ProtocolError
from presencedb.limits import ID_INT_MAX, MEMBERS_MAX
from presencedb.placement import Member, Topology
from tests.placement.implementations import topology

NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
MEMBERS = st.builds(
    Member,
    id=NAMES,
    address=st.sampled_from(["127.0.0.1:7411", "[::1]:7411", "unix:/run/presence db.sock", "é.example:1"]),
    weight=st.integers(0, 1000),
    state=st.sampled_from(["up", "leaving"]),
    run=st.sampled_from(["", "3f9a"]),
)
TOPOLOGIES = st.builds(
    Topology,
    epoch=st.integers(0, 2**63 - 1),
    seed=st.integers(0, ID_INT_MAX),
    replicas=st.integers(1, 8),
    members=st.lists(MEMBERS, max_size=6, unique_by=lambda member: member.id).map(tuple),
)
WIRE: Final = topology({"n1": 100, "n2": 50}).to_wire()


def with_member(**changes: object) -> dict[str, Any]:
    first, second = WIRE["members"]
    return WIRE | {"members": [first, second | changes]}


@given(whole=TOPOLOGIES)
def test_it_comes_back_from_the_wire(whole: Topology) -> None:
    assert Topology.from_wire(whole.to_wire()) == whole
    shuffled = whole.to_wire() | {"members": whole.to_wire()["members"][::-1]}
    assert Topology.from_wire(shuffled) == whole


def test_how_it_looks_on_the_wire() -> None:
    assert topology({"n2": 50, "n1": 100}).to_wire() == {
        "epoch": 1,
        "seed": 0x0123456789ABCDEF,
        "replicas": 2,
        "members": [
            {"id": "n1", "address": "n1.example:7411", "weight": 100, "state": "up", "run": ""},
            {"id": "n2", "address": "n2.example:7411", "weight": 50, "state": "up", "run": ""},
        ],
    }


def test_keys_of_a_later_version_are_passed_over() -> None:
    assert Topology.from_wire(WIRE | {"later": 1}) == Topology.from_wire(WIRE)
    assert Topology.from_wire(with_member(zone="a")) == Topology.from_wire(WIRE)


def test_members_are_in_order_and_equality_does_not_see_how_they_came() -> None:
    names = ["n10", "n2", "N3", "a"]
    one, other = (topology(dict.fromkeys(order, 100)) for order in (names, names[::-1]))
    assert [member.id for member in one.members] == ["N3", "a", "n10", "n2"]
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "é", "a" * 65, "a\n", "a/b", 7, None, b"a"])
def test_ids_of_members(name: Any) -> None:
    with pytest.raises(ValueError, match=r"^id: 1 to 64 letters, digits, dots, dashes and underscores are expected"):
        Member(name, "a:1")


@pytest.mark.parametrize("weight", [-1, 1001, 2**64, True, 1.0, "1", None])
def test_weights(weight: Any) -> None:
    with pytest.raises(ValueError, match=r"^weight: an integer from 0 to 1000 is expected, not "):
        Member("n1", "a:1", weight)


@pytest.mark.parametrize("text", ["", "a\nb", "\0", "\ud800", "a" * 321, "é" * 161, 7, None, ["a" * 10**6]])
def test_texts_of_a_member(text: Any) -> None:
    fine = Member("n1", "a:1", state="up", run="3f9a")
    for name in ("address", "state", "run") if text else ("address", "state"):
        with pytest.raises(ValueError, match=f"^{name}: 1 to 320 bytes of printable text are expected, not ") as refused:
            replace(fine, **{name: text})
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epoch", -1, "from 0 to 9223372036854775807"),
        ("epoch", 2**63, "from 0 to 9223372036854775807"),
        ("seed", -1, "from 0 to 18446744073709551615"),
        ("seed", 2**64, "from 0 to 18446744073709551615"),
        ("replicas", 0, "from 1 to 8"),
        ("replicas", 9, "from 1 to 8"),
        ("replicas", True, "from 1 to 8"),
        ("replicas", "2", "from 1 to 8"),
    ],
)
def test_numbers_of_a_topology(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: an integer {wanted} is expected, not "):
        replace(topology({"n1": 100}), **{name: value})


def test_no_member_twice() -> None:
    with pytest.raises(ValueError, match=r"^members: n1 is there twice"):
        Topology(1, 0, 1, (Member("n1", "a:1"), Member("n2", "a:2"), Member("n1", "a:3")))


def test_as_many_members_as_there_may_be() -> None:
    assert len(topology({f"n{index}": 1 for index in range(MEMBERS_MAX)}).members) == MEMBERS_MAX
    with pytest.raises(ValueError, match=r"^members: at most 1024 are expected, not 1025"):
        topology({f"n{index}": 1 for index in range(MEMBERS_MAX + 1)})


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (None, "topology: a map is expected, not NoneType"),
        ([], "topology: a map is expected, not list"),
        ({}, r"topology\.epoch: it is missing"),
        ({key: value for key, value in WIRE.items() if key != "members"}, r"topology\.members: it is missing"),
        (WIRE | {"epoch": "1"}, r"topology\.epoch: an integer"),
        (WIRE | {"epoch": [1] * 10**5}, r"topology\.epoch: an integer from .* not list$"),
        (WIRE | {"seed": 1.5}, r"topology\.seed: an integer"),
        (WIRE | {"replicas": 0}, r"topology\.replicas: an integer from 1 to 8 is expected, not 0"),
        (WIRE | {"members": {}}, r"topology\.members: an array of at most 1024 maps"),
        (WIRE | {"members": [None] * (MEMBERS_MAX + 1)}, r"topology\.members: an array of at most 1024 maps"),
        (WIRE | {"members": [None]}, r"topology\.members\[0\]: a map is expected, not NoneType"),
        (WIRE | {"members": WIRE["members"] * 2}, r"topology\.members: n1 is there twice"),
        (with_member(id="n 2"), r"topology\.members\[1\]\.id: "),
        (with_member(id={}), r"topology\.members\[1\]\.id: .* not dict$"),
        (with_member(weight=1001), r"topology\.members\[1\]\.weight: an integer from 0 to 1000 is expected, not 1001"),
        (with_member(address=""), r"topology\.members\[1\]\.address: "),
        (with_member(state=None), r"topology\.members\[1\]\.state: "),
        (with_member(run=7), r"topology\.members\[1\]\.run: "),
        (WIRE | {"members": [{"id": "n1"}]}, r"topology\.members\[0\]\.address: it is missing"),
    ],
)
def test_anything_else_on_the_wire_is_refused_with_its_place(value: object, where: str) -> None:
    with pytest.raises(ProtocolError, match=f"^{where}"):
        Topology.from_wire(value)
    with pytest.raises(BadRequest, match=f"^{where}") as refused:
        Topology.from_wire(value, BadRequest)
    assert len(refused.value.message) < 250


ANYTHING: Final = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=9), st.binary(max_size=9)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from([*WIRE]), st.text(max_size=2)), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(value=ANYTHING, key=st.sampled_from([*WIRE]), member_key=st.sampled_from([*WIRE["members"][0]]))
def test_whatever_comes_is_a_topology_or_a_protocol_error(value: object, key: str, member_key: str) -> None:
    for given_value in (value, WIRE | {key: value}, WIRE | {"members": [value]}, with_member(**{member_key: value})):
        try:
            read = Topology.from_wire(given_value)
        except ProtocolError as refused:
            message = refused.message
        else:
            assert Topology.from_wire(read.to_wire()) == read
            continue
        assert message.startswith("topology")
        assert len(message) < 300
