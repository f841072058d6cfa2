"""A real server that can be started anew behind one address, as a service manager or a load balancer shows it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tests.support.process import ServerProcess, serve
from tests.support.proxy import HostileProxy


class RestartingServer:
    """`presencedb serve` behind a proxy, whose address stays while servers come and go; runs while `with` lasts."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._errors: list[str] = []
        self.server: ServerProcess
        self.proxy: HostileProxy

    def __enter__(self) -> Self:
        self.server = serve(*self._arguments).__enter__()
        try:
            self.proxy = HostileProxy(self.server.tcp).__enter__()
        except BaseException:
            self.server.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.proxy.__exit__(kind, error, traceback)
        finally:
            self.server.__exit__(kind, error, traceback)
        if error is None:
            assert "Traceback" not in self.server.stderr

    @property
    def url(self) -> str:
        return self.proxy.url

    def kill(self) -> None:
        """End the server as a crash would; whoever connects is cut until `start`."""
        self.proxy.refuse()
        self.server.sigkill()
        self.server.close()
        self.proxy.cut()

    def terminate(self) -> int:
        """End the server by SIGTERM, and give its exit status; whoever connects is cut until `start`."""
        self.proxy.refuse()
        try:
            return self.server.terminate()
        finally:
            self.server.close()

    def start(self) -> None:
        """Start a server anew."""
        self.server = serve(*self._arguments).__enter__()
        self.proxy.target = self.server.tcp
        self.proxy.refuse(False)
