"""A target with a bug in it, planted so that whoever trusts the fuzzer can see that it finds one."""

from __future__ import annotations

from collections.abc import Hashable

from tests.conformance import wire
from tests.fuzz.registry import Target


def _run(data: bytes) -> Hashable:
    """Reads texts, one after another; a short one (`d9`) that claims more bytes than there are goes past the end."""
    at = 0
    texts = 0
    while at < len(data):
        head = data[at]
        if 0xA0 <= head <= 0xBF:
            size, at = head & 0x1F, at + 1
        elif head == 0xD9 and at + 1 < len(data):
            size, at = data[at + 1], at + 2
            _ = data[at + size - 1] if size else 0  # the planted bug: nobody has looked whether that many are there
        else:
            return "refused"
        at += size
        texts += 1
    return texts


CANARY = Target("canary", _run, (wire.value("alice"), wire.value("x" * 40) + wire.value("bob")))
"""Not registered: it must fail, so it is no part of the smoke run."""
