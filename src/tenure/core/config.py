"""Settings of a project: read, merged, checked.

Enters: `tenure.toml`, environment variables `TENURE_SECTION__KEY` and overrides from the command line.
Leaves: one frozen `Settings`. Precedence: command line, environment, file, default; the first two are the same
mechanism, a key path and a TOML value laid over the file.
Invariant: a key that tenure does not know never passes silently; the error names the nearest key that it knows.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from tenure.core.errors import ConfigError, InputError, NotFoundError, did_you_mean
from tenure.core.settings import (
    AuditSettings,
    ChurnSettings,
    ContractSettings,
    CustomersSettings,
    EventName,
    EventSettings,
    FeatureSettings,
    ModelSettings,
    ProjectSettings,
    RuntimeSettings,
    ScoreSettings,
    Section,
    ServeSettings,
    StoreSettings,
    StreamSettings,
    TableSettings,
    ValueSettings,
)
from tenure.core.time import parse_instant, parse_timezone

__all__ = ["Settings", "load_settings", "parse_override", "settings_from"]

KeyPath = tuple[str, ...]
ENV_PREFIX = "TENURE_"


class Settings(Section):
    """Everything `tenure.toml` may say; relative paths in it start at the file's folder."""

    project: ProjectSettings = ProjectSettings()
    customers: CustomersSettings | None = None
    events: dict[EventName, EventSettings] = Field(default_factory=dict)
    table: TableSettings | None = None
    churn: ChurnSettings | None = None
    features: tuple[FeatureSettings, ...] = ()
    model: ModelSettings = ModelSettings()
    value: ValueSettings = ValueSettings()
    score: ScoreSettings = ScoreSettings()
    stream: StreamSettings = StreamSettings()
    store: StoreSettings = StoreSettings()
    serve: ServeSettings = ServeSettings()
    contract: ContractSettings = ContractSettings()
    audit: AuditSettings = AuditSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @model_validator(mode="before")
    @classmethod
    def _cutoffs_in_the_projects_zone(cls, document: Any) -> Any:
        churn, project = document.get("churn"), document.get("project")
        zone = project.get("timezone") if isinstance(project, Mapping) else None
        if not isinstance(churn, Mapping) or not isinstance(zone, str):
            return document
        given = {key: churn[key] for key in ("train", "test") if isinstance(churn.get(key), list | tuple)}
        local = {key: [_in_zone(value, zone) for value in values] for key, values in given.items()}
        return {**document, "churn": {**churn, **local}}

    @model_validator(mode="after")
    def _one_kind_of_source(self) -> Self:
        if self.table is not None:
            extra = [name for name in ("customers", "events", "churn", "features") if getattr(self, name)]
            if extra:
                raise ValueError(f"[table] stands in place of [{'], ['.join(extra)}]: keep one kind of source")
            return self
        if not self.events:
            raise ValueError("no source: give [events.NAME] sections or a [table]")
        if self.churn is None:
            raise ValueError("no [churn] section: say what leaving means")
        self._check_event_names()
        self._check_churn(self.churn)
        for block in self.features:
            self._check_feature(block)
        return self

    def _check_event_names(self) -> None:
        folded: dict[str, str] = {}
        for name in self.events:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                raise ValueError(f"[events.{other}] and [events.{name}] differ in upper and lower case alone")

    def _check_churn(self, churn: ChurnSettings) -> None:
        for name in (*filter(None, [churn.event]), *churn.inactivity, *churn.active.events):
            _known(name, self.events, "[churn]", "[events.…] sections")
        if not churn.active.events and list(self.events) == [churn.event]:
            raise ValueError(
                f"no event type says who is active: [events] holds {churn.event!r} alone, which is leaving. "
                "Add the events that customers come with"
            )

    def _check_feature(self, block: FeatureSettings) -> None:
        _known(block.event, self.events, "[[features]]", "[events.…] sections")
        event = self.events[block.event]
        if block.value is not None:
            _known(block.value, event.values, "[[features]] value", f"values of [events.{block.event}]")
        if block.by is not None:
            _known(block.by, event.categories, "[[features]] by", f"categories of [events.{block.event}]")


def _in_zone(value: Any, zone: str) -> Any:
    """An instant without an offset, read in a zone; what is no instant or no zone is told where it stands."""
    try:
        return parse_instant(value, parse_timezone(zone)) if isinstance(value, str | date) else value
    except InputError:
        return value


def _known(name: str, known: Mapping[str, object] | tuple[str, ...], where: str, what: str) -> None:
    if name not in known:
        raise ValueError(f"{where} names {name!r}, which is not among the {what}. {did_you_mean(name, known)}")


def parse_override(text: str) -> tuple[KeyPath, Any]:
    """Read one `section.key=value` of the command line; the value is TOML, or plain text where it is not.

    Raises
    ------
    ConfigError
        There is no `=` or no key before it.

    Examples
    --------
    >>> parse_override("value.clv=700")
    (('value', 'clv'), 700)
    >>> parse_override("churn.horizon=30d")
    (('churn', 'horizon'), '30d')
    """
    key, separator, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not separator or not all(path):
        raise ConfigError(f"{text!r} is not an override.", hint="Write section.key=value, for example value.clv=700.")
    return path, _toml_value(value)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def load_settings(
    path: Path, overrides: Mapping[KeyPath, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read a project's settings from its file, the environment and the command line.

    Parameters
    ----------
    path : Path
        The `tenure.toml`.
    overrides : mapping of key path to value, optional
        What the command line said, for example `{("value", "clv"): 700}`; wins over the environment and the file.
    environ : mapping, optional
        Environment variables; default: those of the process.

    Raises
    ------
    NotFoundError
        The file does not exist.
    ConfigError
        The file is not TOML, or a key or value is not understood.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> config = write_shop(Path(tempfile.mkdtemp()))
    >>> load_settings(config, {("value", "clv"): 700}, environ={"TENURE_VALUE__CONTACT_COST": "5"}).value.contact_cost
    5.0
    """
    document, laid_over = _read(path), dict[KeyPath, str]()
    for keys, name, value in _environment(os.environ if environ is None else environ):
        _put(document, keys, value)
        laid_over[keys] = f"the environment variable {name}"
    for keys, value in (overrides or {}).items():
        _put(document, keys, value)
        laid_over[_folded(keys)] = "the command line"
    return _checked(document, str(path), laid_over)


def settings_from(document: Mapping[str, Any], *, source: str = "the settings") -> Settings:
    """Check a settings document that was read or built elsewhere.

    Raises
    ------
    ConfigError
        A key or value is not understood; the message lists every such place.

    Examples
    --------
    >>> settings_from({"table": {"path": "t.csv", "label": "churn", "positive": "Yes"}}).table.label
    'churn'
    >>> settings_from({"tabel": {}})
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: the settings: unknown key 'tabel'. Did you mean 'table'?
    → Correct the settings.
    """
    return _checked(document, source, {})


def _checked(document: Mapping[str, Any], source: str, laid_over: Mapping[KeyPath, str]) -> Settings:
    try:
        return Settings(**document)
    except ValidationError as error:
        problems = dict.fromkeys(_told(detail, document, source, laid_over) for detail in error.errors())
        origins = dict.fromkeys(origin for origin, _ in problems)
        raise ConfigError(
            "\n".join(f"{origin}: {problem}" for origin, problem in problems),
            hint=f"Correct {' and '.join(origins)}.",
            source=source,
        ) from None


def _told(
    detail: ErrorDetails, document: Mapping[str, Any], source: str, laid_over: Mapping[KeyPath, str]
) -> tuple[str, str]:
    """Who said what is wrong, and what is wrong with it."""
    location = tuple(part for part in detail["loc"] if part != "[key]")
    return _origin(_folded(location), source, laid_over), _explain(detail, location, document)


def _folded(keys: tuple[int | str, ...]) -> KeyPath:
    """A key path in lower case, as environment variables are read."""
    return tuple(str(key).lower() for key in keys)


def _origin(location: KeyPath, source: str, laid_over: Mapping[KeyPath, str]) -> str:
    """What set a key; of a section that several set, the file and the others."""
    for keys, name in laid_over.items():
        if location[: len(keys)] == keys:
            return name
    others = dict.fromkeys(name for keys, name in laid_over.items() if keys[: len(location)] == location)
    return " with ".join((source, *others))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise NotFoundError(
            f"{path} is a folder.", hint=f"Name the file in it, for example {path / 'tenure.toml'}.", path=str(path)
        ) from None
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no file {path}.",
            hint="Write one with `tenure init --events FILE`, or name yours with --config.",
            path=str(path),
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", hint="Correct that line.", path=str(path)) from None


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[KeyPath, str, Any]]:
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX) and "__" in name:
            keys = tuple(part.lower() for part in name.removeprefix(ENV_PREFIX).split("__"))
            yield keys, name, _toml_value(environ[name])


def _put(document: dict[str, Any], keys: KeyPath, value: Any) -> None:
    place: Any = document
    for key in keys[:-1]:
        place = place.setdefault(_existing(place, key), {})
        if not isinstance(place, dict):
            raise ConfigError(
                f"{'.'.join(keys)} cannot be set: {key!r} is not a section.", hint="Change it in the file instead."
            )
    place[_existing(place, keys[-1])] = value


def _existing(place: Mapping[str, Any], key: str) -> str:
    """The section's own spelling of a key: environment variables have no lower case."""
    return next((name for name in place if name.lower() == key.lower()), key)


def _explain(detail: ErrorDetails, location: tuple[int | str, ...], document: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        return f"unknown key {place!r}. {did_you_mean(str(location[-1]), _section_at(location[:-1]).model_fields)}"
    if detail["type"] == "missing":
        return f"the key {place!r} is missing."
    message, given = detail["msg"].removeprefix("Value error, "), detail["input"]
    for depth in range(len(location)):  # pydantic tries every kind that a value may have, and complains of each
        field = _section_at(location[:depth]).model_fields.get(str(location[depth]))
        if field is not None and _kinds(field.annotation) > 1:
            place = ".".join(str(part) for part in location[: depth + 1])
            given = _value_at(document, location[: depth + 1])
            message = f"not understood. Expected: {field.description}{'' if _is_finite(given) else '; finite numbers'}"
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | list | tuple) else ""
    return f"{place}: {message}{shown}" if place else f"{message}{shown}"


def _is_finite(value: Any) -> bool:
    """Whether every number of a value is one that can be reckoned with."""
    parts = value if isinstance(value, list | tuple) else (value,)
    return all(math.isfinite(part) for part in parts if isinstance(part, float))


def _value_at(document: Any, location: tuple[int | str, ...]) -> Any:
    return reduce(lambda inner, part: inner[part], location, document)


def _kinds(annotation: Any) -> int:
    """How many kinds of values a key takes, beside none at all."""
    arms = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return sum(arm is not type(None) for arm in arms)


def _section_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for part in location:
        if model is Settings and part == "events":
            model = EventSettings
        elif isinstance(part, str) and part in model.model_fields:
            model = _section_type(model.model_fields[part].annotation) or model
    return model


def _section_type(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_type(part))), None)
