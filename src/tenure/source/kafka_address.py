"""How a Kafka broker is reached, and what its refusals mean.

Enters: a URL `kafka://host:port[,host:port]/topic[?option=value]`. Leaves: a `KafkaAddress`, the configuration of every
client, and one of tenure's errors for whatever the client library raises. Invariants: a password in the URL is in no
name and no message; the library's own log lines go to Python's logging and never straight to the terminal.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tenure.core.errors import ConfigError, InputError, StateError, TenureError, UnreachableError
from tenure.core.extras import require

__all__ = ["KafkaAddress", "kafka_error", "talking"]

_EXAMPLE = "kafka://localhost:9092/events"
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
# What a URL may set: how the connection is secured and who asks. Everything else decides whether an event can be lost.
_OPTIONS = ("security.", "ssl.", "sasl.", "client.")
_UNREACHABLE = (
    "_TRANSPORT",
    "_TIMED_OUT",
    "_TIMED_OUT_QUEUE",
    "_MSG_TIMED_OUT",
    "_ALL_BROKERS_DOWN",
    "_RESOLVE",
    "_SSL",
    "_PURGE_QUEUE",
    "_PURGE_INFLIGHT",
)

_log = logging.getLogger("tenure.kafka")
_log.addHandler(logging.NullHandler())  # without one, Python would print warnings of a program that set up no logging


@dataclass(frozen=True)
class KafkaAddress:
    """Brokers, topic, and how to talk to them.

    Parameters
    ----------
    servers : str
        `host:port`, several with commas between them.
    topic : str
        The topic's name.
    options : mapping of str to str
        librdkafka's settings that start with `security.`, `ssl.`, `sasl.` or `client.`.
    patience_seconds : float
        How long a broker may stay silent before that is an error.

    Examples
    --------
    >>> address = KafkaAddress.of("kafka://me:secret@broker:9093/events?security.protocol=SASL_SSL")
    >>> address.servers, address.topic, sorted(address.options)
    ('broker:9093', 'events', ['sasl.password', 'sasl.username', 'security.protocol'])
    >>> address.name
    'kafka://broker:9093/events'
    """

    servers: str
    topic: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience_seconds: float = 30.0

    @classmethod
    def of(cls, url: str, patience_seconds: float = 30.0) -> KafkaAddress:
        """Take a URL apart.

        Raises
        ------
        ConfigError
            It is not the URL of a topic, or it sets what a URL may not set.
        """
        parts = urlsplit(url)
        login, _, servers = parts.netloc.rpartition("@")
        topic = parts.path.removeprefix("/")
        if parts.scheme != "kafka" or not all(map(_SERVER.fullmatch, servers.split(","))):
            raise _not_a_url("it names no broker as kafka://host:port")
        if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
            raise _not_a_url(f"{topic!r} is no name of a topic")
        user, _, password = login.partition(":")
        options = {"sasl.username": unquote(user), "sasl.password": unquote(password)} if login else {}
        options |= dict(parse_qsl(parts.query, keep_blank_values=True))
        for option in options:
            if not option.startswith(_OPTIONS):
                raise _not_a_url(f"{option!r} cannot be set here, only what starts with {', '.join(_OPTIONS)}")
        return cls(servers, topic, options, patience_seconds)

    @property
    def name(self) -> str:
        """The URL without user, password and options."""
        return f"kafka://{self.servers}/{self.topic}"

    def client(self, **settings: object) -> dict[str, Any]:
        """The configuration of a client; a setting's dots are written as underscores.

        Examples
        --------
        >>> configuration = KafkaAddress.of("kafka://localhost:9092/events").client(linger_ms=1)
        >>> configuration["bootstrap.servers"], configuration["linger.ms"]
        ('localhost:9092', 1)
        """
        return {
            "reconnect.backoff.max.ms": 1_000,  # a broker that is back is noticed within about a second
            **self.options,
            **{name.replace("_", "."): value for name, value in settings.items()},
            "bootstrap.servers": self.servers,
            "logger": _log,
        }


def _not_a_url(why: str) -> ConfigError:
    return ConfigError(
        f"The URL of the event log cannot be used: {why}.",
        hint=f"Write it like {_EXAMPLE}; several brokers are separated by commas.",
    )


@contextmanager
def talking(address: KafkaAddress, doing: str) -> Iterator[None]:
    """Turn what the client library raises inside into one of tenure's errors.

    Parameters
    ----------
    address : KafkaAddress
        Whom one talks to.
    doing : str
        What was tried, as in "could not {doing}".

    Raises
    ------
    UnreachableError, ConfigError, InputError, StateError
        The broker does not answer, refuses who asks, refuses what is asked, or anything else.

    Examples
    --------
    >>> with talking(KafkaAddress.of("kafka://localhost:9092/events"), "count"):
    ...     print("fine")
    fine
    """
    kafka = require("confluent_kafka")
    try:
        yield
    except kafka.KafkaException as error:
        raise kafka_error(address, doing, error.args[0]) from error


def kafka_error(address: KafkaAddress, doing: str, error: Any) -> TenureError:
    """What an error of the client library means.

    Parameters
    ----------
    address : KafkaAddress
        Whom one talked to.
    doing : str
        What was tried, as in "could not {doing}".
    error : confluent_kafka.KafkaError
        What came back.

    Examples
    --------
    >>> from confluent_kafka import KafkaError
    >>> address = KafkaAddress.of("kafka://localhost:9092/events")
    >>> print(kafka_error(address, "read", KafkaError(KafkaError._TRANSPORT)))
    Could not read at kafka://localhost:9092/events: Local: Broker transport failure.
    → Is a Kafka broker running there? Once it answers, the same call works again.
    """
    name = error.name()
    message = f"Could not {doing} at {address.name}: {error.str().rstrip('.')}."
    if "AUTH" in name:
        return ConfigError(message, hint="Let the broker's administrator allow it, or correct user and password.")
    if name in _UNREACHABLE or error.retriable():
        hint = "Is a Kafka broker running there? Once it answers, the same call works again."
        return UnreachableError(message, hint=hint, reason=name)
    if name in {"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE"}:
        return InputError(message, hint="Append smaller events.", reason=name)
    return StateError(message, hint="Look at the broker's own log for the cause.", reason=name)
