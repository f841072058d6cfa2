"""The first question of whoever knows a cluster only by some of its addresses: who are the members?"""

from __future__ import annotations

import asyncio
from random import Random

from presencedb.client.connector import Connector
from presencedb.client.dial import MakeSocket
from presencedb.client.failures import connect_error
from presencedb.client.settings import ClientSettings
from presencedb.client.stats import Counters
from presencedb.placement import Topology


async def ask_seeds(settings: ClientSettings[MakeSocket], random: Random, counters: Counters) -> Topology:
    """The topology, from the first seed (a node, or a router) that can be reached.

    Args:
        settings: its targets are the seeds.

    Raises:
        ConnectError: none can be reached, or the one that can has no answer within the timeout of a call.
        ProtocolError: what it answers is no topology.
        Error: it refused the hello or the question.
    """
    seeds = Connector(settings, random, counters)
    try:
        link = await seeds.connect()
        async with asyncio.timeout(settings.timeout_s):
            return Topology.from_wire(await link.send("topology", ()))
    except TimeoutError as error:
        names = ", ".join(target.name for target in settings.targets)
        raise (
            error if isinstance(error, ConnectionError) else connect_error(names, "there was no answer to topology")
        ) from None
    finally:
        await seeds.close()


def seeds_named(settings: ClientSettings[MakeSocket]) -> str:
    """The seeds, for people."""
    return ", ".join(target.name for target in settings.targets)
