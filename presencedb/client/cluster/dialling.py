"""How the members of a cluster are connected to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from presencedb.client.dial import MakeSocket
from presencedb.client.link import Link
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Target, target_of
from presencedb.client.url import TCP_SCHEME, TLS_SCHEME, Address, UnixAddress, parse_url
from presencedb.errors import Error
from presencedb.placement import Member

_UNIX: str = "unix:"


def _nobody(_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """What is needed to connect to any member.

    Attributes:
        settings: of the client; its targets are where to ask for the members, and no members themselves.
        socket_maker: gives what makes sockets that are connected to an address.
        tls: whether the members serve TLS, as the seeds do.
        on_link: called with each new connection.
        on_lost: called with the reason when one is lost.
    """

    settings: ClientSettings[MakeSocket]
    socket_maker: Callable[[Address], MakeSocket]
    tls: bool = False
    on_link: Callable[[Link], None] = _nobody
    on_lost: Callable[[Error], None] = _nobody

    def target(self, member: Member) -> Target[MakeSocket]:
        """Where a member is.

        Raises:
            ConfigError: its address is not one.
        """
        context = next((target.ssl_context for target in self.settings.targets), None)
        return target_of(member_address(member, tls=self.tls), context, self.socket_maker)


def member_address(member: Member, *, tls: bool = False) -> Address:
    """The address of a member: `host:port`, or `unix:/path`.

    Raises:
        ConfigError: it is not one.
    """
    if member.address.startswith(_UNIX):
        return UnixAddress(member.address.removeprefix(_UNIX))
    return parse_url(f"{TLS_SCHEME if tls else TCP_SCHEME}://{member.address}")[0]
