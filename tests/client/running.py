"""Real nodes in this process for the client's tests, certificates for TLS, and counting what is left behind."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from presencedb import AsyncClient
from presencedb.node.node import Node, NodeSettings

ANY_PORT: Final = ("127.0.0.1", 0)


@asynccontextmanager
async def running_node(**settings: Any) -> AsyncIterator[Node]:
    """A node on a free port, stopped at the end."""
    node = Node(NodeSettings(**{"listen": ANY_PORT, "drain_timeout_ms": 200, **settings}))
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


def url_of(node: Node) -> str:
    """Where a node listens."""
    assert node.tcp_address is not None
    host, port = node.tcp_address
    return f"presence://{host}:{port}"


@asynccontextmanager
async def node_and_client(**settings: Any) -> AsyncIterator[AsyncClient]:
    """A client that is connected to a node of its own."""
    async with running_node(**settings) as node, AsyncClient(url_of(node), timeout_s=20) as db:
        yield db


def open_fd_count() -> int:
    """File descriptors that this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def turn(count: int = 1) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def self_signed(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server that calls itself localhost and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return server, client
