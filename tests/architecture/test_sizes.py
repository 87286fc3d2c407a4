"""Modules and functions stay short.

A module is as long as its lines. A function is as long as its statements take lines, without signature, decorators and
docstring: documentation is not what makes a function hard to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median, quantiles

from tests.architecture.tree import (
    Function,
    Module,
    body_without_docstring,
    expect_none,
    functions,
    other_modules,
    plant,
    source_modules,
)

MODULE_MAX, MODULE_NINE_IN_TEN, MODULE_MEDIAN = 600, 400, 200
FUNCTION_MAX, FUNCTION_NINE_IN_TEN, FUNCTION_MEDIAN = 60, 25, 8
ENOUGH = 10  # a share of fewer things says nothing


def body_lines(node: Function) -> int:
    body = body_without_docstring(node)
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def module_lines(module: Module) -> int:
    return len(module.text.splitlines())


def too_long_modules(modules: Iterable[Module]) -> list[str]:
    lengths = ((module, module_lines(module)) for module in modules)
    return [f"{m.name} has {n} lines, at most {MODULE_MAX} are allowed." for m, n in lengths if n > MODULE_MAX]


def too_long_functions(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.at(node)}: {node.name} has {body_lines(node)} lines, at most {FUNCTION_MAX} are allowed."
        for module in modules
        for node in functions(module.tree)
        if body_lines(node) > FUNCTION_MAX
    ]


def too_long_on_the_whole(what: str, lengths: Sequence[int], middle_limit: int, ninth_limit: int) -> list[str]:
    if len(lengths) < ENOUGH:
        return []
    middle, ninth = median(lengths), quantiles(lengths, n=10, method="inclusive")[-1]
    found = []
    if middle >= middle_limit:
        found.append(f"The median {what} has {middle:g} lines; it should stay under {middle_limit}.")
    if ninth >= ninth_limit:
        found.append(f"One {what} in ten has {ninth:g} lines or more; nine in ten should stay under {ninth_limit}.")
    return found


def long_modules_on_the_whole(modules: Iterable[Module]) -> list[str]:
    lengths = [module_lines(module) for module in modules if not module.is_package]
    return too_long_on_the_whole("module", lengths, MODULE_MEDIAN, MODULE_NINE_IN_TEN)


def long_functions_on_the_whole(modules: Iterable[Module]) -> list[str]:
    lengths = [body_lines(node) for module in modules for node in functions(module.tree)]
    return too_long_on_the_whole("function", lengths, FUNCTION_MEDIAN, FUNCTION_NINE_IN_TEN)


def test_no_module_is_too_long() -> None:
    expect_none(too_long_modules([*source_modules(), *other_modules()]))
    expect_none(long_modules_on_the_whole(source_modules()))


def test_no_function_is_too_long() -> None:
    expect_none(too_long_functions(source_modules()))
    expect_none(long_functions_on_the_whole(source_modules()))


def long_function(lines: int) -> str:
    return "def f():\n    '''Documentation.\n\n    It does not count.\n    '''\n" + "    x = 1\n" * lines


def test_a_module_that_is_too_long_is_found() -> None:
    just, over = plant("tenure.core.a", "\n" * MODULE_MAX), plant("tenure.core.b", "\n" * (MODULE_MAX + 1))
    assert too_long_modules([just, over]) == ["tenure.core.b has 601 lines, at most 600 are allowed."]


def test_a_function_that_is_too_long_is_found() -> None:
    just = plant("tenure.core.a", long_function(FUNCTION_MAX))
    over = plant("tenure.core.b", "class C:\n    pass\n" + long_function(FUNCTION_MAX + 1))
    assert too_long_functions([just, over]) == ["tenure.core.b:3: f has 61 lines, at most 60 are allowed."]


def test_long_shares_are_found() -> None:
    short = [plant(f"tenure.core.m{i}", long_function(7)) for i in range(9)]
    assert long_functions_on_the_whole([*short, plant("tenure.core.last", long_function(24))]) == []
    tail = [plant(f"tenure.core.t{i}", long_function(40)) for i in range(2)]
    assert [line.partition(" has ")[0] for line in long_functions_on_the_whole([*short[:8], *tail])] == [
        "One function in ten"
    ]
    modules = [plant(f"tenure.core.m{i}", "\n" * MODULE_MEDIAN) for i in range(10)]
    assert long_modules_on_the_whole(modules) == ["The median module has 200 lines; it should stay under 200."]
