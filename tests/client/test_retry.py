"""The decisions about attempts: pure, so their distribution can be looked at."""

from __future__ import annotations

from random import Random

import pytest

from presencedb.client.retry import Attempts, attempt_s, backoff_s
from presencedb.errors import BadRequest, Busy, CallTimeout, ConnectError, Denied, Error, GapError, Moved, Unavailable
from presencedb.limits import AGE_MS_MAX, ATTEMPT_MS_MIN, BACKOFF_BASE_MS, BACKOFF_CAP_MS


@pytest.mark.parametrize("failure_count", [0, 1, 2, 3, 10, 1_000_000])
def test_backoff_is_uniform_below_its_bound(failure_count: int) -> None:
    random = Random(7)
    bound_s = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(failure_count, 30)) / 1000
    waits = [backoff_s(failure_count, random) for _ in range(10_000)]
    assert 0 <= min(waits) < 0.01 * bound_s
    assert 0.99 * bound_s < max(waits) <= bound_s
    tenths = [0] * 10
    for wait in waits:
        tenths[min(9, int(10 * wait / bound_s))] += 1
    assert all(850 < count < 1150 for count in tenths), tenths


def test_backoff_comes_from_the_random_given() -> None:
    assert [backoff_s(3, Random(1)) for _ in range(3)] == [backoff_s(3, Random(1))] * 3


def test_an_attempt_is_half_a_heartbeat_interval_and_never_too_short() -> None:
    assert attempt_s(10_000) == 5.0
    assert attempt_s(1_000) == 0.5
    assert attempt_s(16) == ATTEMPT_MS_MIN / 1000


def test_an_attempt_ends_with_the_call_at_the_latest() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0)
    assert attempts.begin(100.0, 4_000) == 102.0
    assert attempts.begin(104.0, 4_000) == 105.0


def test_a_first_attempt_carries_only_the_age_given() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0, age_ms=70)
    attempts.begin(100.0, 4_000)
    assert attempts.age_to_send_ms(100.02) == 70


def test_further_attempts_carry_the_time_since_the_call_began() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0, age_ms=70)
    attempts.begin(100.0, 4_000)
    attempts.begin(100.0625, 4_000)
    assert attempts.age_to_send_ms(100.0625) == 70 + 63  # rounded to the older side
    attempts.begin(103.0, 4_000)
    assert attempts.age_to_send_ms(103.0) == 3_070


def test_a_write_that_waited_for_its_connection_is_late_on_the_first_attempt_too() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0)
    attempts.begin(101.5, 4_000)
    assert attempts.age_to_send_ms(101.5) == 1_500


def test_an_age_never_exceeds_what_the_protocol_takes() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0, age_ms=AGE_MS_MAX)
    attempts.begin(100.0, 4_000)
    attempts.begin(102.0, 4_000)
    assert attempts.age_to_send_ms(102.0) == AGE_MS_MAX


@pytest.mark.parametrize("error", [BadRequest("x"), Denied("x"), GapError("x")])
def test_what_stays_wrong_is_not_tried_again(error: Error) -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0)
    attempts.begin(100.0, 4_000)
    assert attempts.wait_s(error, 100.1, Random(1)) is None


@pytest.mark.parametrize("error", [Busy("x"), Moved("x"), Unavailable("x"), CallTimeout("x")])
def test_what_may_pass_is_tried_again_after_a_growing_wait(error: Error) -> None:
    attempts = Attempts(began_s=100.0, deadline_s=200.0)
    longest = []
    for _ in range(6):
        attempts.begin(100.0, 4_000)
        waits = [attempts.wait_s(error, 100.0, Random(seed)) for seed in range(200)]
        longest.append(max(wait for wait in waits if wait is not None))
    assert longest == sorted(longest)
    assert longest[0] <= BACKOFF_BASE_MS / 1000
    assert longest[-1] <= BACKOFF_CAP_MS / 1000


def test_a_lost_connection_asks_for_no_wait_of_the_call() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0)
    attempts.begin(100.0, 4_000)
    assert attempts.wait_s(ConnectError("x"), 100.1, Random(1)) == 0.0


def test_nothing_is_tried_after_the_deadline_and_no_wait_goes_past_it() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0, count=30)
    assert attempts.wait_s(ConnectError("x"), 105.0, Random(1)) is None
    for seed in range(100):
        wait = attempts.wait_s(Busy("x"), 104.0, Random(seed))
        assert wait is None or 104.0 + wait < 105.0


def test_a_last_attempt_that_was_cut_short_says_what_was_said_before() -> None:
    attempts = Attempts(began_s=100.0, deadline_s=105.0)
    refusal, silence = Busy("full"), CallTimeout("no answer")
    attempts.begin(100.0, 4_000)
    assert attempts.told(silence) is silence
    assert attempts.wait_s(refusal, 100.1, Random(1)) is not None
    attempts.begin(100.2, 4_000)
    assert attempts.told(silence) is silence, "it had all its time"
    attempts.begin(104.9, 4_000)
    assert attempts.told(silence) is refusal
    assert attempts.told(other := Unavailable("down")) is other
    for nothing_said in (silence, ConnectError("x")):
        assert attempts.wait_s(nothing_said, 100.3, Random(1)) is not None
        assert attempts.told(silence) is silence
