"""The written pages as the tests see them: headings, links, code blocks, and the keys that settings have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel

from tests.architecture.tree import ROOT

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
CODE_SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^\s*(?:\$ )?tenure ([a-z][a-z-]*)", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @cached_property
    def prose(self) -> str:
        """The text without its code blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def anchors(self) -> set[str]:
        """What `#…` may name: headings in lower case, without punctuation, with hyphens for spaces."""
        headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(self.prose))
        return {heading.replace(" ", "-") for heading in headings}

    @cached_property
    def links(self) -> list[str]:
        return LINK.findall(self.prose)

    @cached_property
    def code(self) -> set[str]:
        """Everything in backticks."""
        return set(CODE_SPAN.findall(self.prose))

    def blocks(self, language: str) -> list[str]:
        """The code blocks of one language."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)

    @cached_property
    def commands(self) -> set[str]:
        """Verbs of `tenure` that the code blocks use."""
        return {verb for block in FENCE.findall(self.text) for verb in COMMAND.findall(block)}

    def under(self, title: str) -> set[str]:
        """Everything in backticks between the heading that holds `title` and the next heading of any level."""
        spans: set[str] = set()
        inside = False
        for line in self.prose.splitlines():
            if HEADING.match(line):
                inside = f"`{title}`" in line
            elif inside:
                spans.update(CODE_SPAN.findall(line))
        return spans


def read_pages(root: Path = ROOT) -> list[Page]:
    """Every page that the project hands to a reader."""
    paths = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    return [Page(path, path.read_text(encoding="utf-8")) for path in paths]


@dataclass(frozen=True)
class Key:
    """One settings key: the section it is written in, its name there, and what the model says about it."""

    section: str
    name: str
    description: str


def setting_keys(settings: type[BaseModel]) -> Iterator[Key]:
    """Every key of every section; a section inside a section is an inline table with dotted keys."""
    for name, field in settings.model_fields.items():
        models = nested_models(field.annotation)
        for model in models:
            yield from section_keys(section_title(name, field.annotation), model)
        if not models:
            yield Key("", name, field.description or "")


def section_title(name: str, annotation: object) -> str:
    if get_origin(annotation) is dict:
        return f"[{name}.NAME]"
    return f"[[{name}]]" if get_origin(annotation) is tuple else f"[{name}]"


def section_keys(section: str, model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        models = nested_models(field.annotation)
        yield Key(section, prefix + (field.alias or name), field.description or "")
        for nested in models:
            yield from section_keys(section, nested, f"{prefix}{name}.")


def nested_models(annotation: object) -> list[type[BaseModel]]:
    """The sections that an annotation such as `dict[str, EventSettings]` or `ChurnSettings | None` holds."""
    if isinstance(annotation, type) and not get_origin(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if get_origin(annotation) in {dict, tuple, list, Union, UnionType}:
        return [model for argument in get_args(annotation) for model in nested_models(argument)]
    return []
