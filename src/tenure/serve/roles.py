"""Who may do what: one line per route, and nothing for what has no line.

Enters: a method and a path. Leaves: what the route needs. Invariant: a request that no line speaks of is never handed
to the application, whatever is mounted there, so a new route is closed until somebody has decided who may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["ANY_KEY", "POLICY", "PUBLIC", "ROLES", "Need", "Policy", "Role", "Routes", "Site", "UnsuitablePathError"]

Role = Literal["score", "events", "admin"]
ROLES: Final[tuple[Role, ...]] = ("score", "events", "admin")
ANY_KEY: Final[frozenset[Role]] = frozenset(ROLES)
PUBLIC: Final = None
Need = frozenset[Role] | None
"""The roles of which a key needs one; `admin` may everything. None: no key is needed."""
Policy = Mapping[tuple[str, str], Need]

_SCORE: Final[frozenset[Role]] = frozenset({"score"})
_EVENTS: Final[frozenset[Role]] = frozenset({"events"})
_ADMIN: Final[frozenset[Role]] = frozenset({"admin"})

POLICY: Final[Policy] = MappingProxyType(
    {
        ("GET", "/livez"): PUBLIC,
        ("GET", "/readyz"): PUBLIC,
        ("GET", "/metrics"): _ADMIN,
        ("GET", "/version"): ANY_KEY,
        ("GET", "/docs"): ANY_KEY,
        ("GET", "/openapi.json"): ANY_KEY,
        ("GET", "/v1/score/{customer_id}"): _SCORE,
        ("POST", "/v1/score"): _SCORE,
        ("POST", "/v1/scores"): _SCORE,
        ("GET", "/v1/customers/{customer_id}"): _SCORE,
        ("POST", "/v1/events"): _EVENTS,
    }
)


class UnsuitablePathError(ValueError):
    """A policy names a path in which something else than the last part is a parameter."""


@dataclass(frozen=True, slots=True)
class Site:
    """A path of the policy, with what each of its methods needs.

    Parameters
    ----------
    template : str
        The path as the policy writes it; names the route in metrics and logs.
    needs : mapping
        By method.
    """

    template: str
    needs: Mapping[str, Need]


class Routes:
    """A policy, ready to be asked a few thousand times a second.

    Parameters
    ----------
    policy : mapping
        (method, path template) to what it needs.

    Raises
    ------
    UnsuitablePathError
        A parameter is not the whole last part of its path.

    Examples
    --------
    >>> routes = Routes(POLICY)
    >>> routes.find("/v1/score/c100").template
    '/v1/score/{customer_id}'
    >>> routes.find("/v1/score/c1/x") is None, routes.find("/admin") is None
    (True, True)
    """

    def __init__(self, policy: Policy) -> None:
        self._exact: dict[str, Site] = {}
        self._below: dict[str, Site] = {}
        for template in dict.fromkeys(path for _, path in policy):
            needs = {method: need for (method, path), need in policy.items() if path == template}
            site = Site(template, needs)
            head, _, last = template.rpartition("/")
            if "{" in head or ("{" in last and not (last.startswith("{") and last.endswith("}"))):
                raise UnsuitablePathError(f"{template}: only the whole last part of a path may be a parameter.")
            if "{" in last:
                self._below[head] = site
            else:
                self._exact[template] = site

    def find(self, path: str) -> Site | None:
        """The site that a path leads to, or None where no line of the policy speaks of it."""
        found = self._exact.get(path)
        if found is not None:
            return found
        head, _, last = path.rpartition("/")
        return self._below.get(head) if last else None
