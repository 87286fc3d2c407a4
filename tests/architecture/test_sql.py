"""Values and names enter SQL only bound or quoted.

The rule. Where a string is SQL, everything put into it must be one of

- a call to a function that quotes (`QUOTING`) or that can only give a number (`NUMERIC`), or a number's format (`:d`);
- SQL itself: a name, attribute or call whose last name is `sql` or ends with `_sql`, or `", ".join(…)` over such;
- a choice between two of these;
- a constant, or a collection of constants;
- a name that the same function, or else the module, gives such values and no others.

A string is SQL where it begins with an SQL keyword in capitals, where it is handed to a method that runs SQL, where it
is kept under a name that ends with `_sql`, or where a function of such a name returns it. So the name carries the
promise, and every place that gives such a name its value is held to it. Forbidden, though it works until a customer is
called O'Brien:

    connection.execute(f"SELECT * FROM events WHERE customer_id = '{customer}'")
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from tests.architecture.tree import (
    Function,
    Module,
    called_name,
    expect_none,
    functions,
    last_name,
    plant,
    source_modules,
)

QUOTING = {"quote_identifier", "quote_literal", "quote_path"}
NUMERIC = {"int", "float", "len"}
COLLECTING = {"list", "sorted", "tuple"}
RUNS_SQL = {"exec_driver_sql", "execute", "executemany", "executescript", "raw_sql", "read_sql", "sql", "text"}
KEYWORD = re.compile(
    r"\s*(ALTER|ATTACH|CALL|COPY|CREATE|DELETE|DESCRIBE|DROP|EXPLAIN|FROM|INSERT|INSTALL|LOAD|MERGE|PRAGMA|SELECT|SET"
    r"|TRUNCATE|UPDATE|VACUUM|VALUES|WITH)\s"
)


Scope = Mapping[str, Sequence[ast.expr | None]]


def unquoted_sql(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.at(node)}: {ast.unparse(part)} enters SQL unquoted; use {', '.join(sorted(QUOTING))} or bind it."
        for module in modules
        for unit, known in units_and_names(module.tree)
        for node in sql_strings(unit)
        for part in parts(node)
        if not is_safe(part, known)
    ]


def units_and_names(tree: ast.Module) -> Iterator[tuple[list[ast.AST], Scope]]:
    """Every unit with the names it can see: its own and, where it does not hide them, the module's."""
    *inside, outside = units(tree)
    module_names = scope(outside)
    yield outside, module_names
    yield from ((unit, {**module_names, **scope(unit)}) for unit in inside)


def units(tree: ast.Module) -> list[list[ast.AST]]:
    """The nodes of every outermost function, and those of the rest of the module."""
    found: list[list[ast.AST]] = []
    rest: list[ast.AST] = []
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        if isinstance(node, Function):
            found.append(list(ast.walk(node)))
        else:
            rest.append(node)
            queue.extend(ast.iter_child_nodes(node))
    return [*found, rest]


def scope(unit: list[ast.AST]) -> Scope:
    """Every value that a unit gives to a name; None for a value that is not seen, as a parameter's or a loop's."""
    found: dict[str, list[ast.expr | None]] = {}
    given = [pair for node in unit for pair in assignments(node)]
    for name, value in given:
        found.setdefault(name.id, []).append(value)
    seen = {name for name, _ in given}
    for node in unit:
        if isinstance(node, ast.arg):
            found.setdefault(node.arg, []).append(None)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in seen:
            found.setdefault(node.id, []).append(None)
    return found


def assignments(node: ast.AST) -> Iterator[tuple[ast.Name, ast.expr]]:
    """The names of one assignment, each with its own value: `a, b = x, y` gives two pairs."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from pairs(target, node.value)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value:
        yield from pairs(node.target, node.value)


def pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.Name, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, its_value in zip(target.elts, value.elts, strict=True):
            yield from pairs(one, its_value)


def sql_strings(unit: list[ast.AST]) -> Iterator[ast.expr]:
    """Every expression that builds SQL, once."""
    claimed = {id(node): node for node in promised_sql(unit) if is_built(node)}
    for node in unit:
        if isinstance(node, ast.expr) and is_built(node) and KEYWORD.match(leading_text(node)):
            claimed[id(node)] = node
    inner = {id(child) for node in claimed.values() for child in ast.walk(node) if child is not node}
    return (node for key, node in claimed.items() if key not in inner)


def promised_sql(unit: list[ast.AST]) -> Iterator[ast.expr]:
    """Expressions whose place says that they are SQL."""
    for node in unit:
        if isinstance(node, ast.Call) and called_name(node) in RUNS_SQL:
            yield from node.args[:1]
        if isinstance(node, ast.Assign) and any(names_sql(target) for target in node.targets):
            yield node.value
        if isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value and names_sql(node.target):
            yield node.value
        if isinstance(node, ast.keyword) and node.arg and is_sql_name(node.arg):
            yield node.value
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_sql_name(node.name):
            yield from returned(node)


def returned(function: Function) -> Iterator[ast.expr]:
    nested = {node for inner in functions(function) if inner is not function for node in ast.walk(inner)}
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value and node not in nested:
            yield node.value


def is_sql_name(name: str) -> bool:
    return name == "sql" or name.endswith("_sql")


def names_sql(node: ast.expr) -> bool:
    return is_sql_name(last_name(node) or called_name(node))


def is_built(node: ast.expr) -> bool:
    """Whether the string is put together here: an f-string, `+`, `%`, `.format` or `.join`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "join"}
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod))


def leading_text(node: ast.expr) -> str:
    """The constant text that a built string begins with."""
    if isinstance(node, ast.JoinedStr):
        return leading_text(node.values[0]) if node.values else ""
    if isinstance(node, ast.BinOp):
        return leading_text(node.left)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return leading_text(node.func.value)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def parts(node: ast.expr) -> list[ast.expr]:
    """What is put into a built string."""
    if isinstance(node, ast.JoinedStr):
        return [value for value in node.values if isinstance(value, ast.FormattedValue)]
    if isinstance(node, ast.BinOp):
        return [node.left, *(node.right.elts if isinstance(node.right, ast.Tuple) else [node.right])]
    if isinstance(node, ast.Call) and called_name(node) == "join":
        return [joined for argument in node.args for joined in elements(argument)]
    return [*node.args, *(k.value for k in node.keywords)] if isinstance(node, ast.Call) else []


def elements(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        return [node.elt]
    return node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else [node]


def is_safe(node: ast.expr, known: Scope) -> bool:
    if isinstance(node, ast.FormattedValue):
        return is_number_format(node.format_spec) or is_safe(node.value, known)
    if isinstance(node, ast.Constant) or names_sql(node) or called_name(node) in QUOTING | NUMERIC:
        return True
    if isinstance(node, ast.Name):
        values, others = known.get(node.id, [None]), {name: v for name, v in known.items() if name != node.id}
        return all(value is not None and is_safe(value, others) for value in values)
    inner = passed_on(node)
    return inner is not None and all(is_safe(part, known) for part in inner)


def passed_on(node: ast.expr) -> list[ast.expr] | None:
    """The expressions that a node only chooses among or puts together; None where it does something else."""
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.Starred):
        return [node.value]
    if isinstance(node, ast.List | ast.Tuple):
        return node.elts
    if isinstance(node, ast.Call) and last_name(node.func) in COLLECTING:
        return node.args
    return parts(node) if is_built(node) else None


def is_number_format(spec: ast.expr | None) -> bool:
    return isinstance(spec, ast.JoinedStr) and leading_text(spec) in {"d", "f", "g"}


def test_nothing_enters_sql_unquoted() -> None:
    expect_none(unquoted_sql(source_modules()))


@pytest.mark.parametrize(
    "text",
    [
        "connection.execute(f\"SELECT * FROM events WHERE customer_id = '{customer}'\")",
        "query = f'SELECT * FROM {table}'",
        "query = 'SELECT * FROM ' + table",
        "query = 'SELECT * FROM %s' % table",
        "query = 'SELECT * FROM {}'.format(table)",
        "duckdb.sql(f'{verb} everything')",
        "where_sql = f'time < {cutoff}'",
        "def where_sql(cutoff):\n    return f'time < {cutoff}'",
        "query = f\"SELECT {', '.join(columns)} FROM events\"",
        "query = f\"SELECT {', '.join(f'{c}' for c in columns)} FROM events\"",
        "run(events_sql=f'FROM {table}')",
        "query = f'SELECT 1 LIMIT {n:>10}'",
        "def f(a):\n    name = quote_identifier(a)\n    if a:\n        name = a\n    return f'FROM {name} '",
        "def f(name):\n    return f'FROM {name} '",
        "def f(names):\n    for name in names:\n        run(f'FROM {name} ')",
        "def f(a, b):\n    name, other = quote_identifier(a), b\n    return f'FROM {name} {other} '",
        "SHARES = [0.5, read()]\ndef f():\n    return f'SELECT {list(SHARES)} '",
        "name = quote_identifier(a)\ndef f(name):\n    return f'FROM {name} '",
    ],
)
def test_unquoted_sql_is_found(text: str) -> None:
    assert len(unquoted_sql([plant("tenure.source.files", text)])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "connection.execute('SELECT * FROM events WHERE customer_id = ?', [customer])",
        "query = f'SELECT * FROM {quote_identifier(table)} LIMIT {limit:d}'",
        "query = f\"SELECT {', '.join(quote_identifier(c) for c in columns)} FROM {events_sql}\"",
        "where_sql = f'time < {core.quote_literal(cutoff)}' if cutoff else ''",
        "query = f'SELECT * FROM ({self.events_sql}) WHERE {window_sql(window)}'",
        "def f(a):\n    name = quote_identifier(a)\n    return f'FROM {name} '",
        "def f(a, b):\n    name, other = quote_identifier(a), quote_identifier(b)\n    return f'FROM {name} {other} '",
        "SHARES = (0.5, 0.9)\ndef f():\n    return f'SELECT {list(SHARES)} '",
        "names = ', '.join(quote_identifier(c) for c in columns)\nquery = f'SELECT {names} FROM t'",
        "message = f'{count} rows were rejected: {reason}'",
        "message = f'Select a column from {columns}'",
    ],
)
def test_quoted_sql_and_prose_are_left_alone(text: str) -> None:
    assert unquoted_sql([plant("tenure.source.files", text)]) == []
