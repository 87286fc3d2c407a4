"""What never appears in the source: unsafe loading, hidden failures, half-done work, vague names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

from tests.architecture.tree import (
    ROOT,
    Function,
    Module,
    body_without_docstring,
    called_name,
    expect_none,
    functions,
    last_name,
    plant,
    source_modules,
)

# Formats whose loading runs what the file says.
UNSAFE_MODULES = {
    "_pickle",
    "cloudpickle",
    "cPickle",
    "dill",
    "jsonpickle",
    "joblib",
    "marshal",
    "pickle",
    "shelve",
    "skops",
}
UNSAFE_BUILTINS = {"eval", "exec", "compile"}
UNSAFE_METHODS = {"read_pickle", "to_pickle"}
UNSAFE_KEYWORDS = {"allow_pickle", "shell"}

VAGUE_MODULES = {"base", "common", "helper", "helpers", "legacy", "misc", "shared", "stuff", "util", "utils"}
VAGUE_CLASS = re.compile(r"(Manager|Helper|Helpers|Util|Utils|Impl)$|^Abstract")
VERSIONED = re.compile(r"(^|_)(v\d+|new|old|future|legacy)$")
HALF_DONE = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")


def unsafe_loading(modules: Iterable[Module]) -> list[str]:
    return [f"{m.at(node)}: {why}" for m in modules for node in m.nodes if (why := unsafe(node))]


def unsafe(node: ast.AST) -> str:
    for name in imported_names(node):
        if name.partition(".")[0] in UNSAFE_MODULES:
            return f"imports {name}; loading its files runs what they say."
    if isinstance(node, ast.Name) and node.id in UNSAFE_BUILTINS:
        return f"uses {node.id}; text is data, never code."
    if isinstance(node, ast.Attribute) and node.attr in UNSAFE_METHODS:
        return f"uses {node.attr}; loading its files runs what they say."
    if isinstance(node, ast.keyword) and node.arg in UNSAFE_KEYWORDS and not is_constant(node.value, False):
        return f"passes {node.arg}."
    return ""


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def hidden_failures(modules: Iterable[Module]) -> list[str]:
    found = []
    for module in modules:
        for node in module.nodes:
            if isinstance(node, ast.Assert):
                found.append(f"{module.at(node)}: assert disappears under `python -O`; raise an error that teaches.")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                found.append(f"{module.at(node)}: a bare except hides what it did not expect.")
            if isinstance(node, ast.ExceptHandler) and all(isinstance(child, ast.Pass) for child in node.body):
                found.append(f"{module.at(node)}: a failure is swallowed; count it, show it or raise it.")
    return found


def half_done(modules: Iterable[Module]) -> list[str]:
    words = [
        f"{module.name}:{number}: {match[0]} marks work that is not done."
        for module in modules
        for number, line in enumerate(module.text.splitlines(), start=1)
        if (match := HALF_DONE.search(line))
    ]
    stubs = [
        f"{module.at(node)}: {node.name} does nothing."
        for module in modules
        for node in implemented_functions(module.tree)
        if is_stub(node)
    ]
    return words + stubs


def implemented_functions(tree: ast.Module) -> Iterator[Function]:
    """Functions outside protocols, neither abstract nor overloads: those that must do something."""
    interfaces = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(last_name(unsubscripted(base)) == "Protocol" for base in node.bases)
    ]
    skipped = {inner for interface in interfaces for inner in ast.walk(interface)}
    for node in functions(tree):
        decorators = {last_name(decorator) for decorator in node.decorator_list}
        if node not in skipped and not decorators & {"abstractmethod", "overload"}:
            yield node


def unsubscripted(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Subscript) else node


def is_stub(node: Function) -> bool:
    body = body_without_docstring(node)
    raised = body[0].exc if len(body) == 1 and isinstance(body[0], ast.Raise) else None
    if raised is not None and "NotImplementedError" in {last_name(raised), called_name(raised)}:
        return True
    nothing = all(isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and is_constant(s.value, ...)) for s in body)
    return nothing and (bool(body) or len(node.body) == 0)


def vague_names(modules: Iterable[Module]) -> list[str]:
    files = [
        f"{module.name}: {part!r} does not say what is inside."
        for module in modules
        for part in module.name.split(".")
        if part in VAGUE_MODULES or VERSIONED.search(part)
    ]
    classes = [
        f"{module.at(node)}: {node.name!r} does not say what it is."
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]
    return files + classes


RULES = [unsafe_loading, hidden_failures, half_done, vague_names]


@pytest.mark.parametrize("rule", RULES)
def test_the_source_keeps_the_rule(rule: object) -> None:
    assert callable(rule)
    expect_none(rule(source_modules()))


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import os, dill as d",
        "def f():\n    from skops.io import load",
        "eval('1')",
        "g = exec",
        "import pandas as pd\npd.read_pickle('x')",
        "np.load('x', allow_pickle=True)",
        "run('ls', shell=flag)",
    ],
)
def test_unsafe_loading_is_found(text: str) -> None:
    assert len(unsafe_loading([plant("tenure.core.a", text)])) == 1


def test_safe_loading_is_left_alone() -> None:
    text = "import json, re\nnp.load('x', allow_pickle=False)\nre.compile('a')\nframe.eval_set = 1\nmodel.evaluate()"
    assert unsafe_loading([plant("tenure.core.a", text)]) == []


@pytest.mark.parametrize(
    "text",
    [
        "assert x",
        "try:\n    f()\nexcept:\n    raise",
        "try:\n    f()\nexcept ValueError:\n    pass",
    ],
)
def test_a_hidden_failure_is_found(text: str) -> None:
    assert len(hidden_failures([plant("tenure.core.a", text)])) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"x = 1  # {'TO' + 'DO'}: more",
        f"'''{'FIX' + 'ME'}'''",
        "def f():\n    raise NotImplementedError",
        "def f():\n    '''Words.'''\n    raise NotImplementedError('later')",
        "class C:\n    def f(self):\n        ...",
        "def f():\n    '''Words.'''\n    pass",
    ],
)
def test_half_done_work_is_found(text: str) -> None:
    assert len(half_done([plant("tenure.core.a", text)])) == 1


def test_interfaces_and_documented_silence_are_not_half_done() -> None:
    text = (
        "class P(Protocol[T]):\n    def f(self): ...\n"
        "class A:\n    @abc.abstractmethod\n    def f(self): ...\n"
        "@overload\ndef g(): ...\n"
        "def silent():\n    '''Report nothing.'''\n"
    )
    assert half_done([plant("tenure.core.a", text)]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tenure.core.utils", ""),
        ("tenure.common.time", ""),
        ("tenure.core.train_v2", ""),
        ("tenure.core.a", "class ModelManager: ..."),
        ("tenure.core.a", "class BaseStoreImpl: ..."),
    ],
)
def test_a_vague_name_is_found(name: str, text: str) -> None:
    assert len(vague_names([plant(name, text)])) == 1


def test_the_documents_hold_no_half_done_work() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert documents
    assert [path.name for path in documents if HALF_DONE.search(path.read_text(encoding="utf-8"))] == []
