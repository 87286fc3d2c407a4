"""What the pages say is there: links, named files, settings that can be used."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from tenure.core.config import settings_from
from tenure.core.errors import ConfigError
from tests.architecture.documents import Page, read_pages
from tests.architecture.tree import PACKAGE, ROOT, SOURCE, expect_none

NAMED_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*(?:/|\.py|\.md|\.toml)")
# What a page may name though it is not in the repository: it is made by users, or by the tools.
MADE_LATER = {"tenure.toml", "xgboost/"}
WORKSPACE = ".tenure/"
SCREENS = 2 * 50


def broken_links(pages: list[Page]) -> list[str]:
    """Links between pages that lead nowhere; links out of the project are left to the reader."""
    known = {page.path.resolve(): page for page in pages}
    found = []
    for page in pages:
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = (page.path.parent / target).resolve() if target else page.path.resolve()
            if not path.exists():
                found.append(f"{page.path.name} links to {link}, and there is no such file.")
            elif anchor and path in known and anchor not in known[path].anchors:
                found.append(f"{page.path.name} links to {link}, and there is no such heading.")
    return found


def missing_files(pages: Iterable[Page], root: Path = ROOT) -> list[str]:
    """Files and folders in backticks that are neither in the repository nor in the package."""
    return [
        f"{page.path.name} names {span}, which does not exist."
        for page in pages
        for span in sorted(page.code - MADE_LATER)
        if NAMED_FILE.fullmatch(span)
        and not span.startswith(WORKSPACE)
        and not any((place / span).exists() for place in (root, SOURCE / PACKAGE, page.path.parent))
    ]


def unusable_settings(pages: Iterable[Page]) -> list[str]:
    """Whole settings in code blocks that tenure would refuse."""
    found = []
    for page in pages:
        for block in page.blocks("toml"):
            document = tomllib.loads(block)
            if "project" in document:
                try:
                    settings_from(document, source=page.path.name)
                except ConfigError as error:
                    found.append(str(error))
    return found


def test_every_link_leads_somewhere() -> None:
    expect_none(broken_links(read_pages()))


def test_every_named_file_exists() -> None:
    expect_none(missing_files(read_pages()))


def test_every_settings_example_is_accepted() -> None:
    pages = read_pages()
    assert any(page.blocks("toml") for page in pages)
    expect_none(unusable_settings(pages))


def test_the_architecture_fits_two_screens() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= SCREENS


def test_contributing_opens_with_ten_rules() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert re.findall(r"^(\d+)\. ", text, re.MULTILINE) == [str(number) for number in range(1, 11)]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("# The one: a page\n[up](../README.md#start)", encoding="utf-8")
    (tmp_path / "README.md").write_text(
        "# Start\n[a](docs/one.md) [b](docs/one.md#the-one-a-page) [c](#start) [d](https://example.org/x)\n"
        "[e](docs/two.md) [f](docs/one.md#the-two) [g](#end)\n```\n[h](not/a/link.md)\n```\n",
        encoding="utf-8",
    )
    assert broken_links(read_pages(tmp_path)) == [
        "README.md links to docs/two.md, and there is no such file.",
        "README.md links to docs/one.md#the-two, and there is no such heading.",
        "README.md links to #end, and there is no such heading.",
    ]


def test_a_file_that_does_not_exist_is_found() -> None:
    page = Page(
        ROOT / "planted.md", "`core/time.py` `core/clock.py` `core/` `README.md` `tenure.toml` `a/b` `train.py`"
    )
    assert missing_files([page]) == [
        "planted.md names core/clock.py, which does not exist.",
        "planted.md names train.py, which does not exist.",
    ]


@pytest.mark.parametrize(("label", "problems"), [("label", 0), ("lable", 1)])
def test_settings_that_would_be_refused_are_found(label: str, problems: int) -> None:
    block = f'```toml\n[project]\nname = "p"\n[table]\npath = "t.csv"\n{label} = "churned"\npositive = 1\n```\n'
    assert len(unusable_settings([Page(Path("planted.md"), block)])) == problems
