"""What the HTTP side is made of: everything that a route needs, opened elsewhere and handed over once.

Enters: a scorer, an intake of events, keys, limits, metrics, opened by `app/serve.py` or by a test. Leaves: one
`Service`, from which `serve.app.create_app` makes an application. Invariant: a route holds nothing of its own; what
changes while the service runs (version, keys, breakers) changes behind these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from tenure.core.settings import ServeSettings

if TYPE_CHECKING:
    from tenure.core.guard import State
    from tenure.serve.facts import CustomerFacts
    from tenure.serve.intake import Intake
    from tenure.serve.keys import KeyRing
    from tenure.serve.limits import Limiter
    from tenure.serve.metrics import Metrics
    from tenure.serve.tracing import Scorer

__all__ = ["CLOSING", "About", "Readiness", "Service"]

CLOSING = "tenure.closing"
"""In the scope of a request that came after the process was told to stop."""


@dataclass(frozen=True)
class Readiness:
    """Whether a load balancer should send requests here.

    Parameters
    ----------
    ready : bool
        A verified model is loaded, and every dependency answers or is known not to; and nothing is being shut down.
    version : str or None
        The version that answers; None where none is loaded yet.
    alias : str or None
        The alias under which it serves.
    dependencies : mapping
        State of the breaker of every dependency and model member: `closed`, `half_open` or `open`.
    reason : str
        Why it is not ready, or what is degraded; empty where nothing is.
    """

    ready: bool
    version: str | None = None
    alias: str | None = None
    dependencies: Mapping[str, State] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class About:
    """What is running.

    Parameters
    ----------
    tenure : str
        Version of the package.
    version, alias : str or None
        The trained version that answers, and the alias under which it does.
    family : str or None
        Its model family.
    trained_at : datetime or None
        UTC.
    fingerprint : str or None
        SHA-256 of what the version learned from and of its parts.
    features : tuple of str
        Names of the features that it reads, as a request may send them.
    """

    tenure: str
    version: str | None = None
    alias: str | None = None
    family: str | None = None
    trained_at: datetime | None = None
    fingerprint: str | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """Everything that the routes need.

    Parameters
    ----------
    scorer : Scorer
        Answers scores.
    intake : Intake or None
        Takes events; None where the project has no event log.
    customer : callable or None
        What is known of a customer; raises NotFoundError. None where the project keeps no states.
    keys : KeyRing
        Who may ask.
    limiter : Limiter
        How often.
    metrics : Metrics
        What is counted.
    ready : callable
        Whether requests should come here; answers from memory.
    about : callable
        What is running; answers from memory.
    settings : ServeSettings
        The `[serve]` section.
    tls : bool
        Whether connections are encrypted.
    """

    scorer: Scorer
    intake: Intake | None
    customer: Callable[[str], CustomerFacts] | None
    keys: KeyRing
    limiter: Limiter
    metrics: Metrics
    ready: Callable[[], Readiness]
    about: Callable[[], About]
    settings: ServeSettings
    tls: bool = False
