"""How one column of a source is read: expressions that give its text, its number or its instant.

Enters: a column as an SQL expression, with DuckDB's type of it. Leaves: SQL that gives the canonical value, or NULL
where there is none. Invariant: nothing is guessed. What cannot be read as a whole is not read in part (DuckDB by
itself would take `2020-01-01 10:00 PM` for ten in the morning), and whether a value was absent or unreadable stays
distinguishable, because a row is rejected only for the second.

Text. Ids and categories become text exactly: `00123` stays as it is, an integer has no decimal point, and a float that
holds a whole number is written like an integer (17850.0, as tables that passed through pandas have it, is `17850`).

Numbers. Text is read as a decimal number with a point; blank text is an absent value.

Times. A time without an offset is read in the project's zone. When clocks go back, an hour happens twice: the earlier
of the two instants is taken, as Python does; in the hour that is skipped when they go forward, the offset before the
change holds. Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970: every instant from 1971 to 2286
is between 3e7 and 1e10 seconds, so the size of a number tells its unit. Eight digits are a date such as 20170402: as
seconds they would lie in 1970, which no event does.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from tenure.source.engine import quote_literal

__all__ = [
    "FORMS",
    "Kind",
    "blank_sql",
    "inexact_sql",
    "instant_sql",
    "kind_of",
    "number_sql",
    "text_sql",
    "time_form_sql",
    "utc_sql",
]

Kind = Literal["text", "integer", "decimal", "float", "boolean", "date", "local", "instant", "empty", "other"]

# What `trim` removes: SQL's own is the space alone. Ids of such characters only are missing ids.
WHITESPACE = (
    " \t\n\r\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)

_DATE = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_CLOCK = r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_OFFSET = r" ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)"
# The ways in which a time may be written; the numbers are those that `time_form_sql` gives.
FORMS = {1: "without an offset", 2: "with an offset", 3: "as a number since 1970", 4: "as eight digits"}
_PATTERNS = {1: f"{_DATE}({_CLOCK})?", 2: _DATE + _CLOCK + _OFFSET, 4: r"\d{8}", 3: r"-?\d{1,19}(\.\d+)?"}
_AROUND = f"[{WHITESPACE}]*"


def kind_of(column_type: str) -> Kind:
    """Sort DuckDB's type names into the kinds that are read alike.

    Examples
    --------
    >>> [kind_of(name) for name in ("HUGEINT", "DECIMAL(18,3)", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "BLOB")]
    ['integer', 'decimal', 'local', 'instant', 'other']
    """
    name = column_type.upper()
    if name.endswith("]"):
        return "other"
    if name.startswith("TIMESTAMP"):
        return "instant" if "TZ" in name or "ZONE" in name else "local"
    if name.startswith(("DECIMAL", "ENUM")):
        return "decimal" if name.startswith("DECIMAL") else "text"
    kinds: dict[str, Kind] = {
        "VARCHAR": "text",
        "UUID": "text",
        "BOOLEAN": "boolean",
        "DATE": "date",
        '"NULL"': "empty",
    }
    if name in {"FLOAT", "DOUBLE"}:
        return "float"
    return kinds.get(name, "integer" if name.endswith(("INT", "INTEGER")) else "other")


def blank_sql(value_sql: str) -> str:
    r"""Tell whether a text holds nothing but white space; NULL for NULL.

    Examples
    --------
    >>> import duckdb
    >>> duckdb.execute(f"SELECT {blank_sql('a')}, {blank_sql('b')} FROM (SELECT ' \t' AS a, ' x' AS b)").fetchone()
    (True, False)
    """
    # A text that begins with a visible ASCII character is not blank; to see that costs a tenth of trimming it.
    visible_sql = f"{value_sql} >= '!' AND {value_sql} < chr(127)"
    return f"(CASE WHEN {visible_sql} THEN false ELSE {_trimmed_sql(value_sql)} = '' END)"


def _trimmed_sql(value_sql: str) -> str:
    return f"trim({value_sql}, {quote_literal(WHITESPACE)})"


def _cast_sql(value_sql: str, target_sql: str) -> str:
    """A cast that looks again without surrounding white space where it fails."""
    return f"coalesce(TRY_CAST({value_sql} AS {target_sql}), TRY_CAST({_trimmed_sql(value_sql)} AS {target_sql}))"


def text_sql(value_sql: str, column_type: str) -> str:
    """The exact text of a value, NULL for NULL and for a float that is not a number.

    Examples
    --------
    >>> import duckdb
    >>> duckdb.execute(
    ...     f"SELECT {text_sql('17850.0::DOUBLE', 'DOUBLE')}, {text_sql('12.50', 'DECIMAL(4,2)')}"
    ... ).fetchone()
    ('17850', '12.5')
    """
    kind = kind_of(column_type)
    plain_sql = f"CAST({value_sql} AS VARCHAR)"
    if kind == "float":
        whole_sql = f"CAST(CAST({value_sql} AS HUGEINT) AS VARCHAR)"
        is_whole_sql = f"{value_sql} = trunc({value_sql}) AND abs({value_sql}) < 1e18"
        return f"(CASE WHEN isnan({value_sql}) THEN NULL WHEN {is_whole_sql} THEN {whole_sql} ELSE {plain_sql} END)"
    if kind == "decimal":
        return f"regexp_replace({plain_sql}, '\\.0*$|(\\.\\d*[1-9])0+$', '\\1')"
    return value_sql if column_type == "VARCHAR" else plain_sql


def inexact_sql(value_sql: str, column_type: str) -> str:
    """Tell whether a float is so large that neighbouring whole numbers, such as ids, look the same.

    Examples
    --------
    >>> import duckdb
    >>> duckdb.execute(f"SELECT {inexact_sql('1e17::DOUBLE', 'DOUBLE')}, {inexact_sql('12', 'BIGINT')}").fetchone()
    (True, False)
    """
    if kind_of(column_type) != "float":
        return "false"
    return f"(abs({value_sql}) > {2**24 if column_type == 'FLOAT' else 2**53:d})"


def number_sql(value_sql: str, column_type: str) -> str:
    """The value as a double: finite or not, NULL where there is none or none can be read.

    Examples
    --------
    >>> import duckdb
    >>> duckdb.execute(f"SELECT {number_sql('a', 'VARCHAR')} FROM (VALUES (' 1.5 '), ('n/a'), (NULL)) t(a)").fetchall()
    [(1.5,), (None,), (None,)]
    """
    if kind_of(column_type) == "text":
        return _cast_sql(value_sql, "DOUBLE")
    return value_sql if column_type == "DOUBLE" else f"CAST({value_sql} AS DOUBLE)"


def time_form_sql(value_sql: str) -> str:
    """Which of `FORMS` a text has, 0 for none of them, NULL for NULL.

    Examples
    --------
    >>> import duckdb
    >>> times = ["2017-04-02", "2017-04-02T10:00:00Z", "1491127200", "20170402", "2017-04-02 10:00 PM"]
    >>> duckdb.execute(f"SELECT {time_form_sql('t')} FROM (SELECT unnest(?) AS t)", [times]).fetchall()
    [(1,), (2,), (3,), (4,), (0,)]
    """
    cases_sql = " ".join(
        f"WHEN regexp_full_match({value_sql}, {quote_literal(_AROUND + pattern + _AROUND)}) THEN {form:d}"
        for form, pattern in _PATTERNS.items()
    )
    return f"CAST(CASE WHEN {value_sql} IS NULL THEN NULL {cases_sql} ELSE 0 END AS UTINYINT)"


def instant_sql(value_sql: str, column_type: str, zone: tzinfo, form_sql: str = "") -> str:
    """The value as a UTC timestamp without an offset; NULL where there is none or none can be read.

    Parameters
    ----------
    value_sql, column_type : str
        The column and its type, of any kind but `boolean` and `other`.
    zone : tzinfo
        Where times without an offset happened.
    form_sql : str
        For text: a column that holds `time_form_sql` of it.

    Examples
    --------
    >>> import duckdb
    >>> from zoneinfo import ZoneInfo
    >>> day = "DATE '2017-04-02'"
    >>> duckdb.execute(f"SELECT {instant_sql(day, 'DATE', ZoneInfo('Europe/Berlin'))}").fetchone()
    (datetime.datetime(2017, 4, 1, 22, 0),)
    """
    kind = kind_of(column_type)
    if kind == "text":
        return _text_instant_sql(value_sql, form_sql, zone)
    if kind in {"date", "local"}:
        return utc_sql(f"CAST({value_sql} AS TIMESTAMP)", zone)
    if kind == "integer":
        return _number_instant_sql(f"TRY_CAST({value_sql} AS BIGINT)", zone)
    if kind in {"float", "decimal"}:
        return _fraction_instant_sql(f"CAST({value_sql} AS DOUBLE)", zone)
    return f"CAST({value_sql} AS TIMESTAMP)"


def _text_instant_sql(text_sql: str, form_sql: str, zone: tzinfo) -> str:
    # A space before a numeric offset ("+0200" as Ruby writes it) is not understood by DuckDB.
    joined_sql = f"regexp_replace({_trimmed_sql(text_sql)}, ' ([+-])', '\\1')"
    local_sql = utc_sql(_cast_sql(text_sql, "TIMESTAMP"), zone)
    whole_sql = _number_instant_sql(_cast_sql(text_sql, "BIGINT"), zone)
    fraction_sql = _fraction_instant_sql(_cast_sql(text_sql, "DOUBLE"), zone)
    zoned_sql = f"coalesce(TRY_CAST({text_sql} AS TIMESTAMPTZ), TRY_CAST({joined_sql} AS TIMESTAMPTZ))"
    offset_sql = f"CAST({zoned_sql} AS TIMESTAMP)"
    since_sql = f"CASE WHEN contains({text_sql}, '.') THEN {fraction_sql} ELSE {whole_sql} END"
    return (
        f"(CASE {form_sql} WHEN 1 THEN {local_sql} WHEN 2 THEN {offset_sql} WHEN 3 THEN {since_sql} "
        f"WHEN 4 THEN {whole_sql} END)"
    )


def _number_instant_sql(number_sql: str, zone: tzinfo) -> str:
    day_sql = f"CAST(try_strptime(CAST({number_sql} AS VARCHAR), '%Y%m%d') AS TIMESTAMP)"
    return (
        f"(CASE WHEN {number_sql} BETWEEN 19000101 AND 29991231 THEN {utc_sql(day_sql, zone)} "
        f"WHEN {number_sql} BETWEEN -{10**10:d} AND {10**10:d} THEN make_timestamp({number_sql} * 1000000) "
        f"WHEN {number_sql} BETWEEN -{10**13:d} AND {10**13:d} THEN make_timestamp({number_sql} * 1000) "
        f"WHEN {number_sql} BETWEEN -{10**16:d} AND {10**16:d} THEN make_timestamp({number_sql}) "
        f"ELSE make_timestamp({number_sql} // 1000) END)"
    )


def _fraction_instant_sql(number_sql: str, zone: tzinfo) -> str:
    whole_sql = _number_instant_sql(f"CAST({number_sql} AS BIGINT)", zone)
    seconds_sql = f"make_timestamp(CAST(round({number_sql} * 1000000) AS BIGINT))"
    millis_sql = f"make_timestamp(CAST(round({number_sql} * 1000) AS BIGINT))"
    return (
        f"(CASE WHEN NOT isfinite({number_sql}) OR abs({number_sql}) >= 9e18 THEN NULL "
        f"WHEN {number_sql} = trunc({number_sql}) THEN {whole_sql} "
        f"WHEN abs({number_sql}) < 1e10 THEN {seconds_sql} WHEN abs({number_sql}) < 1e13 THEN {millis_sql} "
        f"ELSE {whole_sql} END)"
    )


def utc_sql(local_sql: str, zone: tzinfo) -> str:
    """The instant at which clocks in `zone` showed a time, as a UTC timestamp without an offset.

    DuckDB takes the later instant of an hour that happens twice; on the days when clocks change, the earlier is looked
    for by applying the offset that held a day before, and taken if clocks then really showed that time.

    Examples
    --------
    >>> import duckdb
    >>> from zoneinfo import ZoneInfo
    >>> twice = "TIMESTAMP '2020-10-25 02:30:00'"
    >>> with duckdb.connect() as engine:
    ...     _ = engine.execute("SET TimeZone = 'UTC'")
    ...     engine.execute(f"SELECT {utc_sql(twice, ZoneInfo('Europe/Berlin'))}").fetchone()
    (datetime.datetime(2020, 10, 25, 0, 30),)
    """
    if zone is UTC:
        return local_sql
    name_sql = quote_literal(str(zone))
    later_sql = f"CAST(timezone({name_sql}, {local_sql}) AS TIMESTAMP)"
    days = clock_changes(zone)
    if not days:
        return later_sql
    days_sql = ", ".join(f"DATE {quote_literal(day.isoformat())}" for day in days)
    # Seen from the day before: the instant at which clocks would show this time had they not been changed.
    unchanged_sql = f"(CAST(timezone({name_sql}, {local_sql} - INTERVAL 1 DAY) AS TIMESTAMP) + INTERVAL 1 DAY)"
    shown_sql = f"timezone({name_sql}, CAST({unchanged_sql} AS TIMESTAMPTZ))"
    return (
        f"(CASE WHEN CAST({local_sql} AS DATE) IN ({days_sql}) AND {shown_sql} = {local_sql} "
        f"THEN {unchanged_sql} ELSE {later_sql} END)"
    )


@lru_cache(maxsize=8)
def clock_changes(zone: tzinfo) -> tuple[date, ...]:
    """Every local day from 1970 to 2099 on which the zone's offset may change.

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> date(2020, 10, 25) in clock_changes(ZoneInfo("Europe/Berlin")), len(clock_changes(UTC))
    (True, 0)
    """
    midnights = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(365 * 130)]
    pairs = pairwise(midnight.astimezone(zone) for midnight in midnights)
    days = {moment.date() for pair in pairs if pair[0].utcoffset() != pair[1].utcoffset() for moment in pair}
    return tuple(sorted(days))
