"""Whatever is done, in whatever order: count, statuses, scan and feed tell one story, over the wire."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.node.running import address_of, running_node
from tests.support.async_tests import run_async
from tests.support.wire import Wire

WAITER: Final = "until a tick has gone by"
USERS: Final = [*range(6), "alice", "bob", "0192d7c4-5ad6-7e07-8f6c-1c2b3d4e5f60"]
EVERYBODY: Final = [*USERS, WAITER]
Operation = tuple[str, list[Any], dict[str, int]]
IDS: Final = st.lists(st.sampled_from(USERS), max_size=5)
OPERATIONS: Final[SearchStrategy[list[Operation]]] = st.lists(
    st.one_of(
        st.tuples(st.just("heartbeat"), IDS, st.fixed_dictionaries({"age_ms": st.sampled_from([0, 0, 60, 100, 200])})),
        st.tuples(
            st.just("offline"),
            IDS,
            st.fixed_dictionaries(
                {"age_ms": st.sampled_from([0, 0, 60, 200]), "grace_ms": st.sampled_from([0, 0, 50, 120])}
            ),
        ),
        st.tuples(st.just("wait"), st.just([]), st.just({})),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(OPERATIONS)
def test_one_story(operations: list[Operation]) -> None:
    run_async(lambda: _tell(operations))


async def _tell(operations: list[Operation]) -> None:
    told: dict[Any, bool] = {}
    async with running_node(ttl_ms=150) as node, Wire(address_of(node)) as client:
        cursor = await client.call("follow")
        for method, ids, options in operations:
            if method == "wait":
                await client.call("heartbeat", [WAITER])
                await client.next_notification()
                await client.call("offline", [WAITER])
                continue
            await client.call(method, ids, options)
        # One turn of the node serves them all: nothing changes between the answers.
        msgids = client.send_together(("count",), ("status", EVERYBODY), ("online", None, 100), ("follow",))
        count, statuses, (next_cursor, page), end = [await client.answer(msgid) for msgid in msgids]
        async with Wire(address_of(node)) as reader:
            reached = await reader.call("follow", cursor)
            while _number(reached) < _number(end):
                reached, changes = (await reader.next_notification()).params
                # What came after the answers may be told in the same notification.
                later_count = max(0, _number(reached) - _number(end))
                for user_id, online, _, _ in changes[: len(changes) - later_count]:
                    assert told.get(user_id, False) != online
                    told[user_id] = online
        assert next_cursor is None
        assert count == statuses.count(True) == len(page)
        online_by_status = {user_id for user_id, online in zip(EVERYBODY, statuses, strict=True) if online}
        assert set(page) == online_by_status == {user_id for user_id, online in told.items() if online}


def _number(cursor: str) -> int:
    return int(cursor.rpartition(".")[2])
