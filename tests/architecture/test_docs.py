"""What the code offers is documented: names, errors, commands, settings.

A name in a module's `__all__` has a docstring whose parameters and errors are the real ones. Where the name is part of
a border, because a package offers it to users or another stage imports it, the docstring also shows it at work.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
import typer
import typer.main
from pydantic import BaseModel, Field

from tenure.core.config import Settings
from tests.architecture.documents import Key, Page, read_pages, setting_keys
from tests.architecture.tree import (
    PACKAGE,
    ROOT,
    Module,
    called_name,
    expect_none,
    functions,
    last_name,
    plant,
    source_modules,
)

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
PARAMETER = re.compile(r"^([\w*][\w*, ]*?)(?: *:.*)?$")


@dataclass(frozen=True)
class Exported:
    """A name that a module offers, and what it stands for."""

    where: str
    thing: Any
    at_border: bool = True

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.thing.__doc__ or "")

    @property
    def explains_itself(self) -> bool:
        """Errors, protocols, settings and plain records are understood from their words; the rest is shown at work."""
        if not isinstance(self.thing, type):
            return False
        is_record = is_dataclass(self.thing) and not any(
            inspect.isfunction(value) for name, value in vars(self.thing).items() if not name.startswith("_")
        )
        is_interface = bool(getattr(self.thing, "_is_protocol", False))
        return is_record or is_interface or issubclass(self.thing, BaseException | BaseModel)


def offering_modules() -> list[ModuleType]:
    """Every module of the package that says what it offers."""
    return [
        importlib.import_module(module.name)
        for module in source_modules()
        if any(isinstance(node, ast.Assign) and last_name(node.targets[0]) == "__all__" for node in module.tree.body)
    ]


def exported(modules: Iterable[ModuleType], border: frozenset[str]) -> Iterator[Exported]:
    """Every class and function that a module offers; constants and instances have no documentation of their own."""
    for module in modules:
        for name in module.__all__:
            thing, where = getattr(module, name), f"{module.__name__}.{name}"
            if isinstance(thing, type) or inspect.isfunction(inspect.unwrap(thing) if callable(thing) else thing):
                yield Exported(where, thing, at_border=hasattr(module, "__path__") or where in border)


def border_names(modules: Iterable[Module]) -> frozenset[str]:
    """Names that a module imports from a stage other than its own."""
    return frozenset(
        f"{node.module}.{alias.name}"
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.ImportFrom) and node.module and stage_of(node.module) not in {"", module.stage}
        for alias in node.names
    )


def stage_of(name: str) -> str:
    package, _, rest = name.partition(".")
    return rest.partition(".")[0] if package == PACKAGE else ""


def everything_exported() -> list[Exported]:
    return list(exported(offering_modules(), border_names(source_modules())))


def undocumented(things: Iterable[Exported]) -> list[str]:
    return [f"{thing.where} has no docstring." for thing in things if not thing.doc]


def not_shown_at_work(things: Iterable[Exported]) -> list[str]:
    return [
        f"{thing.where} shows no example that can run."
        for thing in things
        if thing.at_border and not thing.explains_itself and ">>> " not in section_text(thing.doc, "Examples")
    ]


def section_text(doc: str, title: str) -> str:
    """The text under a numpy-style heading, up to the next one; empty where there is none."""
    headings = list(SECTION.finditer(doc))
    ends = [*(heading.start() for heading in headings), len(doc)][1:]
    return "".join(doc[h.end() : end] for h, end in zip(headings, ends, strict=True) if h[1] == title)


def wrong_parameters(things: Iterable[Exported]) -> list[str]:
    """Documented parameters that the signature does not have, and the other way round, where any are documented."""
    found = []
    for thing in things:
        documented = documented_parameters(thing.doc)
        real = real_parameters(thing.thing) if documented else set()
        if documented != real:
            surplus, missing = sorted(documented - real), sorted(real - documented)
            found.append(f"{thing.where} documents {surplus} too much, {missing} not.")
    return found


def documented_parameters(doc: str) -> set[str]:
    lines = section_text(doc, "Parameters").splitlines()
    matches = [match for line in lines if line and not line.startswith(" ") and (match := PARAMETER.match(line))]
    return {name.strip(" *") for match in matches for name in match[1].split(",")}


def real_parameters(thing: Any) -> set[str]:
    return set(inspect.signature(thing).parameters) - {"self", "cls"}


def unmentioned_errors(things: Iterable[Exported]) -> list[str]:
    """Errors that a function raises itself and does not name under Raises."""
    return [
        f"{thing.where} raises {name} and does not say so."
        for thing in things
        if not isinstance(thing.thing, type)
        for name in sorted(raised_names(inspect.unwrap(thing.thing)))
        if not re.search(rf"^{name}$", section_text(thing.doc, "Raises"), re.MULTILINE)
    ]


def raised_names(function: Any) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    inner = {node for nested in functions(tree.body[0]) if nested is not tree.body[0] for node in ast.walk(nested)}
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc and node not in inner]
    return {name for exc in raised if (name := called_name(exc) or last_name(exc)) and name[0].isupper()}


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    """Every command of the command line, with the words that call it: `score`, `models list`."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def undocumented_commands(app: typer.Typer, page: Page) -> list[str]:
    names = commands(typer.main.get_command(app))
    written = {tuple(span.split()) for span in page.code}
    return [
        f"`tenure {name}` is missing from {page.path.name}."
        for name in names
        if not any(words[: len(call)] == call for words in written for call in [("tenure", *name.split())])
    ]


def unknown_commands(app: typer.Typer, pages: Iterable[Page]) -> list[str]:
    known = {name.split()[0] for name in commands(typer.main.get_command(app))}
    return [
        f"{page.path.name} calls `tenure {verb}`, which does not exist."
        for page in pages
        for verb in sorted(page.commands - known)
    ]


def undocumented_keys(keys: Iterable[Key], page: Page) -> list[str]:
    return [
        f"{key.section} {key.name} is missing from {page.path.name}."
        for key in keys
        if key.name not in (page.under(key.section) if key.section else page.code)
    ]


def unexplained_keys(keys: Iterable[Key]) -> list[str]:
    return [f"{key.section} {key.name} has no description." for key in keys if not key.description]


def command_line() -> typer.Typer:
    main: typer.Typer = importlib.import_module("tenure.cli.main").app
    return main


def page_called(name: str) -> Page:
    """A page of `docs/`; one that does not exist is empty, so that everything is missing from it."""
    path = ROOT / "docs" / name
    return Page(path, path.read_text(encoding="utf-8") if path.exists() else "")


needs_command_line = pytest.mark.skipif(
    not any(module.name == "tenure.cli.main" for module in source_modules()),
    reason="this version of the package has no command line",
)


def test_everything_offered_is_documented() -> None:
    things = everything_exported()
    assert len(things) > 20
    expect_none(undocumented(things))


def test_everything_at_a_border_is_shown_at_work() -> None:
    things = everything_exported()
    assert sum(thing.at_border for thing in things) > 10
    expect_none(not_shown_at_work(things))


def test_documented_parameters_are_the_real_ones() -> None:
    expect_none(wrong_parameters(everything_exported()))


def test_raised_errors_are_documented() -> None:
    expect_none(unmentioned_errors(everything_exported()))


@needs_command_line
def test_every_command_is_documented() -> None:
    expect_none(undocumented_commands(command_line(), page_called("commands.md")))


@needs_command_line
def test_every_documented_command_exists() -> None:
    expect_none(unknown_commands(command_line(), read_pages()))


def test_every_settings_key_says_what_it_means() -> None:
    expect_none(
        [f"{key.section} {key.name} has no description." for key in setting_keys(Settings) if not key.description]
    )


def test_every_settings_key_is_documented() -> None:
    expect_none(undocumented_keys(setting_keys(Settings), page_called("configuration.md")))


# The rules find what they are for. First, documentation of exported names.


class Quiet:
    pass


class Voiced:
    """A class whose example runs.

    Examples
    --------
    >>> isinstance(Voiced(), Voiced)
    True
    """


class OddError(ValueError):
    """An error needs no example."""


class Shape(Protocol):
    """Neither does a protocol."""


@dataclass(frozen=True)
class Pair:
    """Nor two numbers."""

    left: int
    right: int


@dataclass(frozen=True)
class Stack(Pair):
    """What can do something needs one."""

    def push(self) -> None:
        """Add."""


def without_example(count: int, *names: str) -> None:
    """Do nothing.

    Parameters
    ----------
    count, names : int
        What is not counted.
    """


def renamed(total: int) -> int:
    """Document a parameter that was renamed since.

    Parameters
    ----------
    count : int
        What used to be counted.

    Raises
    ------
    KeyError
        Not this one.

    Examples
    --------
    >>> renamed(1)
    1
    """
    if total < 0:
        raise OddError(total)
    return total


THINGS = (Quiet, Voiced, OddError, Shape, Pair, Stack, without_example, renamed)
PLANTED = [Exported(thing.__name__, thing) for thing in THINGS]


def test_missing_documentation_is_found() -> None:
    assert undocumented(PLANTED) == ["Quiet has no docstring."]


def test_a_missing_example_is_found() -> None:
    inside = [replace(thing, at_border=False) for thing in PLANTED]
    assert not_shown_at_work(inside) == []
    assert not_shown_at_work(PLANTED) == [
        "Quiet shows no example that can run.",
        "Stack shows no example that can run.",
        "without_example shows no example that can run.",
    ]


def test_the_border_is_what_other_stages_import() -> None:
    modules = [
        plant(
            "tenure.model.train", "from tenure.core.time import hop\nfrom tenure.model.encode import Encoder\nimport re"
        ),
        plant("tenure.score.batch", "def f():\n    from tenure.model.train import train, Trained"),
        plant("tenure", "from tenure.app.project import Project", package=True),
    ]
    names = {"tenure.core.time.hop", "tenure.model.train.train", "tenure.model.train.Trained"}
    assert border_names(modules) == names | {"tenure.app.project.Project"}


def test_a_renamed_parameter_is_found() -> None:
    assert wrong_parameters(PLANTED) == ["renamed documents ['count'] too much, ['total'] not."]


def test_an_unmentioned_error_is_found() -> None:
    assert unmentioned_errors(PLANTED) == ["renamed raises OddError and does not say so."]


# Then the command line and the settings.


def planted_app() -> typer.Typer:
    app, models = typer.Typer(), typer.Typer()
    app.command("score")(lambda: None)
    app.command("train")(lambda: None)
    models.command("list")(lambda: None)
    app.add_typer(models, name="models")
    return app


def planted_page(text: str) -> Page:
    return Page(Path("planted.md"), textwrap.dedent(text))


def test_a_missing_command_is_found() -> None:
    page = planted_page("Run `tenure score --json`. Never `tenure models`, nor a `train`.")
    assert undocumented_commands(planted_app(), page) == [
        "`tenure train` is missing from planted.md.",
        "`tenure models list` is missing from planted.md.",
    ]


def test_an_invented_command_is_found() -> None:
    page = planted_page(
        """
        ```
        $ tenure predict --json
        tenure models list
        ```
        """
    )
    assert unknown_commands(planted_app(), [page]) == ["planted.md calls `tenure predict`, which does not exist."]


class Inner(BaseModel):
    within: str = Field("", description="inside")


class Part(BaseModel):
    path: str = Field("", description="a file")
    active: Inner = Field(Inner(), description="a table")


class Whole(BaseModel):
    source: Part | None = None
    events: dict[str, Part] = Field(default_factory=dict)
    features: tuple[Part, ...] = ()
    loose: int = 1


def test_a_missing_key_is_found() -> None:
    page = planted_page(
        """
        ## `[source]`
        `path`, `active`, `active.within`
        ## `[events.NAME]`
        `active`, `active.within`
        ## `[[features]]`
        `path` `active` and within
        """
    )
    assert undocumented_keys(setting_keys(Whole), page) == [
        "[events.NAME] path is missing from planted.md.",
        "[[features]] active.within is missing from planted.md.",
        " loose is missing from planted.md.",
    ]
    assert unexplained_keys(setting_keys(Whole)) == [" loose has no description."]
