"""The judgement of silence, on times given by hand."""

from __future__ import annotations

import pytest

from presencedb.client.liveness import Liveness, Verdict
from presencedb.limits import PING_INTERVAL_MS_MAX, PING_INTERVAL_MS_MIN


def run_in_silence(liveness: Liveness, now: float) -> tuple[float, list[Verdict]]:
    verdicts: list[Verdict] = []
    while not verdicts or verdicts[-1] is not Verdict.DEAD:
        now = liveness.next_look_s
        verdicts.append(liveness.look(now))
        assert len(verdicts) < 10
    return now, verdicts


def test_silence_is_asked_about_and_then_noticed_within_the_bound() -> None:
    liveness = Liveness(10_000, now_s=50.0)
    now, verdicts = run_in_silence(liveness, 50.0)
    assert verdicts == [Verdict.PING, Verdict.WAIT, Verdict.DEAD]
    assert now == pytest.approx(50.0 + liveness.bound_s)
    assert liveness.bound_s == pytest.approx(15.05)


def test_whoever_answers_lives() -> None:
    liveness = Liveness(10_000, now_s=0.0)
    pings = 0
    for _ in range(100):
        now = liveness.next_look_s
        verdict = liveness.look(now)
        assert verdict is not Verdict.DEAD
        if verdict is Verdict.PING:
            pings += 1
            liveness.hear(now)  # in the same millisecond, as coarse loop clocks have it
    assert pings == 100


def test_a_process_that_was_paused_itself_reads_once_more_before_it_judges() -> None:
    liveness = Liveness(10_000, now_s=0.0)
    assert liveness.look(10.0) is Verdict.PING
    assert liveness.look(500.0) is Verdict.WAIT
    liveness.hear(500.0)  # the answer was in the socket all the time
    assert liveness.look(liveness.next_look_s) is Verdict.PING


def test_an_overdue_answer_ends_it_soon_if_nothing_else_was_heard() -> None:
    liveness = Liveness(10_000, now_s=0.0)
    liveness.suspect(asked_s=1.0, now_s=1.5)
    assert liveness.look(1.5) is Verdict.WAIT
    assert liveness.look(liveness.next_look_s) is Verdict.DEAD
    assert liveness.next_look_s < 1.6


def test_an_overdue_answer_proves_nothing_against_a_peer_that_is_heard() -> None:
    liveness = Liveness(10_000, now_s=0.0)
    liveness.hear(1.2)
    liveness.suspect(asked_s=1.0, now_s=1.5)
    assert liveness.look(2.0) is Verdict.WAIT
    assert liveness.next_look_s == pytest.approx(11.2)


@pytest.mark.parametrize(
    ("heartbeat_interval_ms", "interval_ms"), [(1, PING_INTERVAL_MS_MIN), (5_000, 5_000), (10**12, PING_INTERVAL_MS_MAX)]
)
def test_the_interval_has_bounds(heartbeat_interval_ms: int, interval_ms: int) -> None:
    assert Liveness(heartbeat_interval_ms, 0.0).interval_s == interval_ms / 1000
