"""What every cache of scores promises (`tenure.score.cache`), as checks.

Enters: a function that opens a cache; every call opens the same one again, empty where it lives in the process.
Leaves: nothing, or `AssertionError` with the promise that was broken. Invariant: the checks know only the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tenure.score.cache import Cache
from tenure.score.explain import Reason
from tenure.score.served import ServedScore

__all__ = ["CHECKS", "CacheOpener", "check_cache"]

CacheOpener = Callable[[], Cache]
_AT = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
_REASONS = (
    Reason("visits", 2.0, 9.0, 0.61, 0.124, "visits is 2 (usual: 9)"),
    Reason("plan", "b\u00e4sic {x}:\n", None, -1e-300, -0.1, "plan is 'b\u00e4sic'"),
    Reason("income", None, 0.1 + 0.2, 5e-324, 1e-9, "income is not known"),
)
_PLAIN = ServedScore(
    "c1", 0.1 + 0.2, "contact", 26.5, None, None, "high", None, "v1", None, "cache", _AT - timedelta(1), _AT
)
_RICH = replace(
    _PLAIN,
    customer_id="\u00e9 {c}:2/\n\u2028",
    decision="no_contact",
    expected_profit=None,
    expected_profit_low=-1e300,
    expected_profit_high=0.0,
    band=None,
    reasons=_REASONS,
    alias="champion",
    features_as_of=None,
    degraded_because=("store", "expired"),
)


def check_cache(opener: CacheOpener) -> None:
    """Run every check of `CHECKS`.

    Parameters
    ----------
    opener : callable
        Opens the cache.

    Examples
    --------
    >>> from tenure.score.cache import MemoryCache
    >>> check_cache(lambda: MemoryCache(1_000, timedelta(hours=1)))
    """
    for check in CHECKS:
        check(opener)


def check_gives_back_what_was_put(opener: CacheOpener) -> None:
    """A score is found as it was put, to the last bit, and under its own key only."""
    with closing(opener()) as cache:
        scores = {"round:1": _PLAIN, f"round:{_RICH.customer_id}": _RICH, "round:{1}": replace(_PLAIN, reasons=())}
        cache.put(scores)
        found = cache.get([*scores, "round:2", "round", "round:1:", ""])
        _require(found == scores, f"gives back {found} for {scores}")


def check_the_last_one_stays(opener: CacheOpener) -> None:
    """A score takes the place of the one that was put before."""
    with closing(opener()) as cache:
        for probability in (0.1, 0.2):
            cache.put({"last": replace(_PLAIN, probability=probability)})
        _require(cache.get(["last"])["last"].probability == 0.2, "gives back what was replaced")


def check_nothing_is_asked_for_nothing(opener: CacheOpener) -> None:
    """No keys and no scores are no error; a key that is asked for twice is found once."""
    with closing(opener()) as cache:
        cache.put({})
        _require(cache.get([]) == {}, "finds something under no key")
        cache.put({"twice": _PLAIN})
        _require(cache.get(["twice", "twice"]) == {"twice": _PLAIN}, "stumbles over a key that is asked for twice")


def check_many(opener: CacheOpener) -> None:
    """A thousand scores are put and found at once, each under its own key."""
    with closing(opener()) as cache:
        scores = {f"many:{number}": replace(_RICH, customer_id=f"c{number}") for number in range(1_000)}
        cache.put(scores)
        found = cache.get([f"many:{number}" for number in range(1_500)])
        wrong = [key for key, score in found.items() if score.customer_id != f"c{key.partition(':')[2]}"]
        _require(not wrong and len(found) == len(scores), f"finds {len(found)} of {len(scores)}; wrong: {wrong[:5]}")


def check_threads(opener: CacheOpener) -> None:
    """Whoever asks from many threads at once finds under every key what was put under it."""
    with closing(opener()) as cache, ThreadPoolExecutor(4) as threads:

        def work(thread: int) -> list[str]:
            wrong = []
            for turn in range(100):
                customer = f"c{thread}-{turn % 7}"
                cache.put({f"threads:{customer}": replace(_PLAIN, customer_id=customer)})
                others = [f"threads:c{other}-{turn % 7}" for other in range(4)]
                wrong += [key for key, score in cache.get(others).items() if key != f"threads:{score.customer_id}"]
            return wrong

        wrong = [key for found in threads.map(work, range(4)) for key in found]
        _require(not wrong, f"finds scores of others under {wrong[:5]}")


CHECKS: tuple[Callable[[CacheOpener], None], ...] = (
    check_gives_back_what_was_put,
    check_the_last_one_stays,
    check_nothing_is_asked_for_nothing,
    check_many,
    check_threads,
)


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise AssertionError(f"The cache {broken}.")
