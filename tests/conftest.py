"""What holds for every test: no network but the machine itself, and how hard the property tests try."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A deadline would be a timing asserted in a test. `make soak` asks for the second profile.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", deadline=None, max_examples=2_000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def is_loopback(address: object) -> bool:
    """Tell whether a socket address stays on this machine; a path is a Unix socket and does."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Refuse connections that would leave this machine."""

    def guard(name: str) -> Any:
        connect = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: object) -> Any:
            if not is_loopback(address):
                raise PermissionError(f"A test tried to connect to {address}; tests stay on this machine.")
            return connect(self, address)

        return guarded

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guard(name))
        yield
