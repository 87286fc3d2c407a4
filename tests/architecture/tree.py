"""The package's source as the architecture tests see it: parsed, never imported.

Every rule is a function from modules to violations, one sentence each. A test applies it twice: to the real source,
which must have none, and to a small planted source, which must have exactly the expected one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = "tenure"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file, parsed when a rule first asks for its tree."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree, walked once for all rules."""
        return tuple(ast.walk(self.tree))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def stage(self) -> str:
        """The folder under the package, or the file's own name for a file beside the folders; empty for the package."""
        return [*self.name.split("."), ""][1]

    def at(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 1)}"


def read_module(path: Path, root: Path) -> Module:
    """Read one file; its name follows from its place under `root`."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return Module(".".join(parts), path, path.read_text(encoding="utf-8"))


@cache
def source_modules() -> tuple[Module, ...]:
    """Every module of the package."""
    return tuple(read_module(path, SOURCE) for path in sorted((SOURCE / PACKAGE).rglob("*.py")))


@cache
def other_modules() -> tuple[Module, ...]:
    """Every module under `tests/` and `bench/`."""
    folders = [ROOT / "tests", ROOT / "bench"]
    return tuple(read_module(path, ROOT) for folder in folders for path in sorted(folder.rglob("*.py")))


def plant(name: str, text: str = "", *, package: bool = False) -> Module:
    """Make a module that exists only for a rule's own test."""
    parts = name.split(".")
    path = Path(*parts, "__init__.py") if package else Path(*parts).with_suffix(".py")
    return Module(name, SOURCE / path, text)


def expect_none(violations: list[str]) -> None:
    """Fail with every violation on a line of its own."""
    if violations:
        pytest.fail("\n".join(violations), pytrace=False)


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def called_name(node: ast.AST) -> str:
    """The last name of what a call calls: `b` for `a.b(…)`; empty for anything that is not such a call."""
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def last_name(node: ast.AST) -> str:
    """`b` for both `b` and `a.b`, else empty."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def body_without_docstring(node: Function) -> list[ast.stmt]:
    """The statements of a function after its docstring."""
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
