"""What others missed is owed until they have pulled it, whatever answers get lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from presencedb.node.cluster.owed import Owed
from presencedb.placement import NO_SLOTS, SlotSet

slots = st.sets(st.integers(0, 5)).map(SlotSet)


def test_nothing_is_owed_at_first() -> None:
    assert Owed().answer("n2", NO_SLOTS) == NO_SLOTS


def test_what_was_noted_is_given_out_until_it_was_pulled() -> None:
    owed = Owed()
    owed.note("n2", SlotSet([1, 2]))
    owed.note("n3", SlotSet([3]))
    assert owed.answer("n2", NO_SLOTS) == SlotSet([1, 2])
    assert owed.answer("n2", NO_SLOTS) == SlotSet([1, 2]), "an answer may be lost"
    assert owed.answer("n2", SlotSet([1])) == SlotSet([2])
    assert owed.answer("n2", SlotSet([2])) == NO_SLOTS
    assert owed.answer("n3", NO_SLOTS) == SlotSet([3])
    assert owed.slot_count == 1


def test_what_was_noted_again_after_it_was_given_out_is_pulled_again() -> None:
    owed = Owed()
    owed.note("n2", SlotSet([1]))
    assert owed.answer("n2", NO_SLOTS) == SlotSet([1])
    owed.note("n2", SlotSet([1]))
    assert owed.answer("n2", SlotSet([1])) == SlotSet([1])
    assert owed.answer("n2", SlotSet([1])) == NO_SLOTS


def test_what_was_never_given_out_is_not_taken_off() -> None:
    owed = Owed()
    owed.note("n2", SlotSet([1]))
    assert owed.answer("n2", SlotSet([1])) == SlotSet([1])


def test_nothing_is_owed_to_who_is_forgotten() -> None:
    owed = Owed()
    owed.note("n2", SlotSet([1]))
    owed.forget("n2")
    assert owed.slot_count == 0
    assert owed.answer("n2", NO_SLOTS) == NO_SLOTS


@given(st.lists(st.one_of(st.tuples(st.just("write"), slots), st.tuples(st.just("poll"), st.booleans()))))
def test_no_write_is_lost_however_answers_are(steps: list[tuple[str, SlotSet | bool]]) -> None:
    """Each write has a number; the other side has pulled a slot as of the moment when it was told of it."""
    owed = Owed()
    last_write = dict.fromkeys(range(6), 0)
    pulled_through = dict.fromkeys(range(6), 0)
    to_report = NO_SLOTS
    now = 0
    for kind, value in steps:
        now += 1
        if kind == "write":
            assert isinstance(value, SlotSet)
            owed.note("n2", value)
            last_write.update(dict.fromkeys(value, now))
            continue
        answer = owed.answer("n2", to_report)
        to_report = NO_SLOTS  # what was pulled is said once, whether the answer arrives or not
        if value:  # it arrives, and all of it is pulled at once
            to_report = answer
            pulled_through.update(dict.fromkeys(answer, now))
    left = owed.answer("n2", to_report)
    assert all(last_write[slot] <= pulled_through[slot] or slot in left for slot in range(6))
