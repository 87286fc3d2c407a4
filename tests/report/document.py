"""A page as its reader's browser takes it apart."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any


class Document(HTMLParser):
    """Ids, links, scripts, tables and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif inside == "style":
            self.styles.append(data)
        else:
            self.text += data
            if {"td", "th"} & set(self._open):
                self.rows[-1][-1] += f" {data.strip()}"

    @property
    def ids(self) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get("id"))]

    @property
    def said(self) -> str:
        """The visible text with its spaces made plain."""
        return re.sub(r"\s+", " ", self.text)

    def row(self, name: str, least: int = 2) -> list[str]:
        """The cells beside the first one that begins with `name`, in a row of at least so many cells."""
        cells = [[re.sub(r"\s+", " ", cell).strip() for cell in row] for row in self.rows]
        return next(row[1:] for row in cells if len(row) >= least and row[0].startswith(name))

    def figure(self, name: str) -> dict[str, Any]:
        """The data and layout that a chart is drawn from."""
        text = next(text for attributes, text in self.scripts if attributes.get("id") == f"chart-{name}-data")
        return dict(json.loads(text))
