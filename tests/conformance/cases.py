"""The table of conformance: what a server of this protocol answers to which bytes, whatever it is made of.

It knows nothing of the code: bytes are literal or come from `wire`, answers are held against it byte by byte, and only what
cannot be known beforehand (a run, a time, a cursor) is a pattern. `runner` runs the table against whatever listens.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.conformance import command_cases, framing_cases, member_cases, refusal_cases, watch_cases
from tests.conformance.case import Case


def _table(*groups: tuple[Case, ...]) -> tuple[Case, ...]:
    cases = tuple(case for group in groups for case in group)
    if twice := [name for name, count in Counter(case.name for case in cases).items() if count > 1]:
        raise ValueError(f"two cases have the same name: {twice}")
    return cases


CASES: Final = _table(framing_cases.CASES, command_cases.CASES, watch_cases.CASES, refusal_cases.CASES, member_cases.CASES)
