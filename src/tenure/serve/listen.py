"""Where the service listens, and how it stops listening without losing anybody.

Enters: a host and a port, and whether callers have to show a key. Leaves: a bound socket that all workers share.
Invariant: without keys nothing but this machine's own loopback is ever bound.

Stopping without losing anybody
-------------------------------
The kernel answers newcomers and queues them before a process takes them up. Whoever is in that queue when the last
process closes the socket is cut off, although for them the connection stood and their request was sent. So newcomers
are first put off: a filter on the socket drops the segment that opens a connection (SYN), and nothing else. They try
again by themselves a second later, and are refused, or are answered by a successor. The queue can then be emptied in
peace. Where the system has no such filters, the moment between the last look into the queue and the end of the socket
remains.
"""

from __future__ import annotations

import ctypes
import ipaddress
import select
import socket
import ssl
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from tenure.core.errors import InputError, NotFoundError

__all__ = ["Tls", "bind", "has_newcomers", "is_loopback", "put_off_newcomers", "url_of"]

# A program for the kernel's packet filter, eight bytes an instruction: code, jumps where true and where not, operand.
# Load the byte of the TCP header that holds its flags; where it says SYN keep nothing of the segment, else all of it.
_TCP_FLAGS, _SYN = 13, 0x02
_NO_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in ((0x30, 0, 0, _TCP_FLAGS), (0x45, 0, 1, _SYN), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
_ATTACH_FILTER = 26


@dataclass(frozen=True)
class Tls:
    """A certificate and its key, as PEM files.

    Parameters
    ----------
    cert : Path
        The certificate, followed by those that lead to the one that callers know.
    key : Path
        Its private key, not encrypted.

    Examples
    --------
    >>> Tls(Path("none.pem"), Path("none.key")).context()
    Traceback (most recent call last):
    tenure.core.errors.NotFoundError: none.pem does not exist.
    → Name a PEM file.
    """

    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What connections are encrypted with: TLS 1.2 or newer.

        Raises
        ------
        NotFoundError
            A file is missing.
        InputError
            A file cannot be read or is no PEM, or the key belongs to another certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        for path in (self.cert, self.key):
            if not path.exists():
                raise NotFoundError(f"{path} does not exist.", hint="Name a PEM file.", path=path)
        try:
            # The password is asked for on a terminal unless one is given, and workers have none.
            context.load_cert_chain(self.cert, self.key, password="")
        except (OSError, ValueError) as error:
            raise InputError(
                f"The certificate {self.cert} and the key {self.key} cannot be used: {error}.",
                hint="Both have to be PEM files that belong together, the key without a password.",
                cert=self.cert,
                key=self.key,
            ) from error
        return context


def is_loopback(host: str) -> bool:
    """Whether an address, or every address of a name, can be reached from this machine alone.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    if not host:
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for _, address in _addresses(host, 0))


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Families and addresses of a host, IPv4 first; an empty host is every address."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{host!r} is no address of this machine: {error}.",
            hint="Set serve.host to an address or a name of this machine, such as 127.0.0.1.",
            host=host,
        ) from error
    return sorted({(family, str(address[0])) for family, _, _, _, address in found})


def bind(host: str, port: int, *, keyed: bool) -> socket.socket:
    """Take a port; nobody is let in before a worker listens.

    Parameters
    ----------
    host : str
        Address or name.
    port : int
        0 for one that is free.
    keyed : bool
        Whether callers have to show a key.

    Raises
    ------
    InputError
        The address is not this machine's, can be reached by others while there are no keys, or its port is taken.

    Examples
    --------
    >>> with bind("127.0.0.1", 0, keyed=False) as listener:
    ...     listener.getsockname()[1] > 0
    True
    """
    if not keyed and not is_loopback(host):
        raise InputError(
            f"{host or 'Every address'} can be reached by others, and there is no key that they would have to show.",
            hint="Make one with `tenure keys create NAME --role score`, or listen on 127.0.0.1.",
            host=host,
        )
    family, address = _addresses(host, port)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two services share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise taken(host, port, error) from error
    return listener


def taken(host: str, port: int, error: OSError) -> InputError:
    """Why a port cannot be listened on."""
    return InputError(
        f"Port {port} of {host or 'this machine'} cannot be listened on: {error.strerror or error}.",
        hint="Stop what listens there, or choose another port with --port; 0 takes one that is free.",
        host=host,
        port=port,
    )


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Where callers find a listener.

    Examples
    --------
    >>> with bind("127.0.0.1", 0, keyed=False) as listener:
    ...     url_of(listener, tls=False).rpartition(":")[0]
    'http://127.0.0.1'
    """
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def put_off_newcomers(listener: socket.socket) -> bool:
    """Let nobody open a connection any more; whoever has opened one stays. False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    told = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, told)
    except OSError:
        return False
    return True


def has_newcomers(listener: socket.socket) -> bool:
    """Whether somebody has opened a connection that no worker has taken up."""
    return bool(select.select([listener], [], [], 0)[0])
