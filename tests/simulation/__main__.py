"""Play the stories of seeds.

python -m tests.simulation 1234 -v            tell the story of a seed
python -m tests.simulation --seeds 0:2000 --seconds 60
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from tests.simulation.plan import Plan, make_plan
from tests.simulation.story import Outcome, play


def command_of(plan: Plan, arguments: argparse.Namespace) -> str:
    """What replays a story."""
    parts = [f"python -m tests.simulation {plan.seed}"]
    parts += [f"--{name} {value}" for name in ("nodes", "replicas") if (value := getattr(arguments, name)) is not None]
    parts += [f"--{name}" for name in ("alone", "storm", "strict") if getattr(arguments, name)]
    return " ".join(parts)


def describe(plan: Plan) -> str:
    """A plan in some lines."""
    shape = plan.shape
    first = (
        f"seed {plan.seed}: {shape.nodes} nodes, R = {shape.replicas}, ttl {shape.ttl_ms} ms, tick {shape.tick_ms} ms, "
        f"{shape.routers} routers, {shape.applications} applications, {len(plan.users)} users, {plan.end_ms / 1000:g} s"
    )
    return "\n".join([first, *(f"  {accident}" for accident in plan.accidents)])


def smallest(plan: Plan, outcome: Outcome, *, strict: bool) -> tuple[Plan, Outcome]:
    """The same story with as few accidents and users as still fail."""
    shrunk = True
    while shrunk:
        shrunk = False
        parts = [("accidents", one) for one in plan.accidents] + [("users", one) for one in plan.users]
        for name, one in parts:
            less = replace(plan, **{name: tuple(other for other in getattr(plan, name) if other is not one)})  # type: ignore[arg-type]
            if len(less.users) and (found := play(less, strict=strict)).violations:
                plan, outcome, shrunk = less, found, True
                break
    return plan, outcome


def main() -> int:
    """Returns the exit status: 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--seeds", metavar="FIRST:END")
    parser.add_argument("--seconds", type=float, help="stop after so many")
    parser.add_argument("--failures", type=int, default=10, help="stop after so many")
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--alone", action="store_true", help="nodes that do not know of each other")
    parser.add_argument("--storm", action="store_true", help="several accidents at a time")
    parser.add_argument("--strict", action="store_true", help="look at what is known not to hold, too")
    parser.add_argument("--smallest", action="store_true", help="leave out what is not needed to fail")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell the story")
    arguments = parser.parse_args()
    first, _, end = (arguments.seeds or f"{arguments.seed or 0}:{(arguments.seed or 0) + 1}").partition(":")
    began_s, played, failed = time.monotonic(), 0, 0
    for seed in range(int(first), int(end)):
        if arguments.seconds and time.monotonic() - began_s > arguments.seconds:
            break
        plan = make_plan(
            seed,
            nodes=arguments.nodes,
            replicas=arguments.replicas,
            members=not arguments.alone,
            storm=arguments.storm,
        )
        if arguments.verbose and not arguments.smallest:
            print(describe(plan))
        told = print if arguments.verbose and not arguments.smallest else None
        outcome = play(plan, tell=told, strict=arguments.strict)
        played += 1
        if outcome.violations:
            failed += 1
            if arguments.smallest:
                plan, outcome = smallest(plan, outcome, strict=arguments.strict)
                print(describe(plan))
                play(plan, tell=print if arguments.verbose else None, strict=arguments.strict)
            print(f"{command_of(plan, arguments)}: {outcome.violations[0]}", flush=True)
            if failed >= arguments.failures:
                break
        elif arguments.seed is not None:
            print(f"{outcome.answers} answers, {outcome.events} events, digest {outcome.digest[:16]}")
    print(f"{played} stories, {failed} failed, {time.monotonic() - began_s:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
