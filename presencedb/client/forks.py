"""What a forked child must leave alone: it inherits its parent's sockets and locks, and may use neither.

Whoever owns such a thing registers it here. In a child, each is told before any other code runs there: it closes the child's
copies without a word to the peer, and is of no more use, or begins anew. What is made while another thread forks would be
missed, so it is made and registered inside `no_fork`.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

no_fork: Final = threading.RLock()
"""A fork waits while another thread holds this; only for moments."""

_registered: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def forget_in_child(thing: T, forget: Callable[[T], None]) -> None:
    """Have a thing let go of what is the parent's in every child, as long as it lives.

    Args:
        forget: a function that gets the thing, not bound to it. It may wait for no lock, whose holder is not in the child.
    """
    _registered[thing] = forget


def close_in_child(sock: socket.socket) -> None:
    """Have the copies of a socket closed in every child, without a word to the peer; TLS would say one."""
    forget_in_child(sock, _close_copy)


def _close_copy(sock: socket.socket) -> None:
    if sock.fileno() >= 0:
        os.close(sock.detach())


def _tell_all() -> None:
    try:
        for thing, forget in list(_registered.items()):
            forget(thing)
    finally:
        no_fork.release()


os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_tell_all)
