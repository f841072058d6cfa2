"""Changes one by one and as columns are the same changes."""

from __future__ import annotations

from array import array
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.ids import IdBatch
from presencedb.limits import TICK_MAX
from presencedb.states import Reason, Status
from presencedb.transitions import REASON_SHIFT, STATUS_MASK, Transition, Transitions
from tests.support.strategies import ids

ONLINE_OF: Final = {Status.OFFLINE: False, Status.ONLINE: True, Status.UNKNOWN: None}
changes = st.builds(
    Transition,
    id=ids().map(lambda user_id: IdBatch([user_id])[0]),
    online=st.sampled_from([True, False, None]),
    tick=st.integers(0, TICK_MAX),
    reason=st.sampled_from(Reason),
)


@given(listed=st.lists(changes))
def test_columns_are_read_back_as_they_were_made(listed: list[Transition]) -> None:
    columns = Transitions.of(listed)
    assert list(columns) == listed
    assert len(columns) == len(columns.ids) == len(columns.marks) == len(columns.ticks) == len(listed)


def test_no_changes_are_columns_too() -> None:
    empty = Transitions.of([])
    assert (len(empty), list(empty), list(empty.ids), empty.marks, empty.ticks) == (0, [], [], b"", array("I"))


def test_the_columns() -> None:
    changes = (Transition("alice", False, 7, Reason.TIMEOUT), Transition(42, None, 2**32 - 1, Reason.UNKNOWN))
    columns = Transitions.of(change for change in changes)
    assert list(columns.ids) == ["alice", 42]
    assert columns.marks == bytes([1 << 2 | 0, 4 << 2 | 2])
    assert columns.ticks == array("I", [7, 2**32 - 1])
    assert columns.ticks.typecode == "I"


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("status", Status)
def test_a_mark_says_status_and_reason(status: Status, reason: Reason) -> None:
    mark = reason << REASON_SHIFT | status
    assert (mark & STATUS_MASK, mark >> REASON_SHIFT) == (status, reason)
    columns = Transitions(IdBatch([1]), bytes([mark]), array("I", [5]))
    assert list(columns) == [Transition(1, ONLINE_OF[status], 5, reason)]
    assert Transitions.of(columns).marks == columns.marks


def test_a_status_that_there_is_not_is_an_error() -> None:
    columns = Transitions(IdBatch([1]), bytes([STATUS_MASK]), array("I", [5]))
    with pytest.raises(KeyError):
        list(columns)
