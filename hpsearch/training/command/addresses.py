"""Addresses of the first node of a trial, where others meet it."""

from __future__ import annotations

import socket


def free_port(address: str) -> int:
    """Return a port of this machine that nobody uses."""
    with socket.create_server((address, 0), family=family_of(address)) as server:
        port: int = server.getsockname()[1]
    return port


def family_of(address: str) -> socket.AddressFamily:
    """Return the kind of an IP address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET
