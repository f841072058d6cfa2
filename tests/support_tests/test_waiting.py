"""Waiting for a condition: it gives the value, and an error that says what it was last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.waiting import wait_until, wait_until_async


def growing() -> Iterator[int]:
    yield from range(1000)


def test_it_gives_the_first_true_value() -> None:
    numbers = growing()
    assert wait_until(lambda: next(numbers)) == 1


def test_the_error_names_the_condition_and_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"the cows did not come true within 0\.02 s; last it was \[\]"):
        wait_until(list, 0.02, what="the cows")


async def test_a_plain_predicate_in_a_coroutine() -> None:
    numbers = growing()
    assert await wait_until_async(lambda: next(numbers)) == 1


async def test_an_awaitable_predicate() -> None:
    numbers = growing()

    async def step() -> int:
        return next(numbers)

    assert await wait_until_async(step) == 1


async def test_the_error_in_a_coroutine() -> None:
    with pytest.raises(AssertionError, match=r"within 0\.02 s; last it was None"):
        await wait_until_async(lambda: None, 0.02)
