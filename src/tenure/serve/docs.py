"""The API described for people: a page that is made here, of the same document that machines read.

Enters: the OpenAPI document. Leaves: HTML without a script, which loads nothing from anywhere. Invariant: the page
shows what the document says and no more, and every route comes with a command that can be pasted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic_core import to_json

from tenure.serve.direct import json_response
from tenure.serve.roles import POLICY

__all__ = ["Operation", "Row", "add_docs_routes", "common_statuses", "operations", "render_docs"]

Json = Mapping[str, Any]
_HOST = re.compile(r"[A-Za-z0-9.\[\]:-]{1,255}")
_CODE = re.compile(r"`([^`]+)`")
_KINDS = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
}
_FORMATS = {"date-time": "instant", "uuid": "UUID"}
_NO_PLACE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Row:
    """A line of a table about one field or parameter.

    Parameters
    ----------
    name : str
        As it is written.
    kind : str
        What it may be, in words; a schema's name in backticks.
    text : str
        What it means.
    required : bool
        Whether it has to be there.
    """

    name: str
    kind: str
    text: str
    required: bool


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the page shows it.

    Parameters
    ----------
    method, path, summary, text, tag : str
        As the document says.
    needs : str
        Which key may ask.
    parameters : tuple of Row
        In the path, the query and the head.
    body : str or None
        Name of the body's schema.
    answer : str or None
        Name of the answer's schema.
    curl : str
        A command that asks.
    example : str or None
        What is answered.
    statuses : tuple of (int, str)
        What else may be answered.
    """

    method: str
    path: str
    summary: str
    text: str
    tag: str
    needs: str
    parameters: tuple[Row, ...]
    body: str | None
    answer: str | None
    curl: str
    example: str | None
    statuses: tuple[tuple[int, str], ...]

    @property
    def anchor(self) -> str:
        """Where on the page it stands."""
        return f"{self.method}-{re.sub(r'[^a-z0-9]+', '-', self.path).strip('-')}".lower()


def add_docs_routes(api: FastAPI) -> None:
    """Add `/docs` and `/openapi.json`, which describe every other route.

    Parameters
    ----------
    api : FastAPI
        The API.
    """

    async def described(_: Request) -> Response:
        return json_response(document())

    async def page(request: Request) -> Response:
        host = request.headers.get("host", "")
        place = f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else _NO_PLACE
        return Response(rendered(place), media_type="text/html")

    @cache
    def document() -> bytes:
        return to_json(api.openapi())

    @lru_cache(maxsize=8)
    def rendered(place: str) -> str:
        return render_docs(api.openapi(), place)

    api.router.add_route("/openapi.json", described, methods=["GET"], include_in_schema=False)
    api.router.add_route("/docs", page, methods=["GET"], include_in_schema=False)


def render_docs(document: Json, place: str) -> str:
    """The page.

    Parameters
    ----------
    document : mapping
        OpenAPI 3.1.
    place : str
        Where the service answers, for the commands: `http://127.0.0.1:8000`.

    Examples
    --------
    >>> about = {"title": "tenure", "version": "1.0", "description": "Scores."}
    >>> page = render_docs({"info": about, "paths": {}, "components": {"schemas": {}}}, "http://localhost")
    >>> page.startswith("<!doctype html>"), "<script" in page
    (True, False)
    """
    shown = list(operations(document, place))
    groups: dict[str, list[Operation]] = {}
    for operation in shown:
        groups.setdefault(operation.tag, []).append(operation)
    schemas = {
        name: (schema.get("description", ""), fields(schema), [_pretty(one) for one in schema.get("examples", ())])
        for name, schema in document["components"]["schemas"].items()
    }
    page = _environment().get_template("docs.html.j2")
    return page.render(
        info=document["info"], place=place, groups=groups, refusals=common_statuses(shown), schemas=schemas
    )


def operations(document: Json, place: str) -> Iterator[Operation]:
    """Every operation of a document, in its order.

    Examples
    --------
    >>> list(operations({"paths": {}}, "http://localhost"))
    []
    """
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield _operation(place, method.upper(), path, operation)


def common_statuses(shown: Iterable[Operation]) -> list[tuple[int, str]]:
    """What several operations answer for the same reason, which is said once.

    Examples
    --------
    >>> common_statuses([])
    []
    """
    routes = Counter(said for operation in shown for said in operation.statuses)
    return sorted(said for said, count in routes.items() if count > 1)


def _operation(place: str, method: str, path: str, said: Json) -> Operation:
    answered = _content(said["responses"].get("200", {}))
    body = _content(said.get("requestBody", {}))
    example = answered.get("example")
    return Operation(
        method,
        path,
        said.get("summary", path).rstrip("."),
        said.get("description", ""),
        (said.get("tags") or ["Other"])[0],
        _needs(method, path),
        tuple(_parameter(parameter) for parameter in said.get("parameters", ())),
        _name(body.get("schema", {})),
        _name(answered.get("schema", {})),
        _curl(place, method, path, said, body.get("example")),
        None if example is None else _pretty(example),
        tuple(_statuses(said["responses"])),
    )


def _pretty(example: Any) -> str:
    return json.dumps(example, indent=2, ensure_ascii=False)


def _statuses(responses: Json) -> Iterator[tuple[int, str]]:
    """Every status but 200; where the document says no more than its name, so do we."""
    for status in sorted(int(status) for status in responses if status != "200"):
        yield status, responses[str(status)].get("description") or HTTPStatus(status).phrase


def _content(part: Json) -> Json:
    """What a request or an answer holds; they have one type of content."""
    return next(iter(part.get("content", {}).values()), {})


def _needs(method: str, path: str) -> str:
    need = POLICY.get((method, path))
    if need is None:
        return "no key"
    names = sorted(need)
    return f"a key with the role {names[0]}" if len(names) == 1 else "any key"


def _parameter(parameter: Json) -> Row:
    where = {"path": "in the path", "query": "in the query", "header": "a header"}[parameter["in"]]
    text = f"{parameter.get('description', '')} ({where})"
    return Row(parameter["name"], kind(parameter["schema"]), text, parameter.get("required", False))


def _curl(place: str, method: str, path: str, said: Json, body: Any) -> str:
    """A command line that asks for the operation with the examples of its parameters."""
    asked = path
    for parameter in said.get("parameters", ()):
        if parameter["in"] == "path":
            asked = asked.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "…")))
    parts = [f"curl {shlex.quote(place + asked)}"]
    if said.get("security") != []:
        parts.append('-H "Authorization: Bearer $TENURE_KEY"')
    headers = [parameter for parameter in said.get("parameters", ()) if parameter["in"] == "header"]
    parts.extend("-H " + shlex.quote(f"{header['name']}: {header.get('example', '…')}") for header in headers)
    if method != "GET":
        parts.append("-H 'Content-Type: application/json'")
        parts.append(f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}")
    return " \\\n  ".join(parts)


def fields(schema: Json) -> list[Row]:
    """The fields of an object's schema.

    Examples
    --------
    >>> fields({"properties": {"age": {"type": "number", "description": "years"}}, "required": ["age"]})
    [Row(name='age', kind='number', text='years', required=True)]
    """
    required = schema.get("required", ())
    return [
        Row(name, kind(value), value.get("description", ""), name in required)
        for name, value in schema.get("properties", {}).items()
    ]


def kind(schema: Json) -> str:
    """What a value may be, in words.

    Examples
    --------
    >>> kind({"anyOf": [{"type": "string"}, {"type": "null"}]}), kind({"enum": ["low", "high"]})
    ('text or null', '`low`, `high`')
    >>> kind({"type": ["string", "null"]})
    'text or null'
    """
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(one) for one in schema["anyOf"]))
    if isinstance(schema.get("type"), list):
        return " or ".join(kind({**schema, "type": one}) for one in schema["type"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    inner = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(inner, Mapping):
        return f"object of {kind(inner)} by name"
    return _plain_kind(schema)


def _plain_kind(schema: Json) -> str:
    if "$ref" in schema:
        return f"`{_name(schema)}`"
    return _FORMATS.get(schema.get("format", ""), _KINDS.get(str(schema.get("type", "")), "anything"))


def _name(schema: Json) -> str | None:
    """The name of the schema that a reference names, or None."""
    reference: str = schema.get("$ref", "")
    return reference.rpartition("/")[2] or None


def _prose(known: Callable[[str], bool]) -> Callable[[str], Markup]:
    """Text in which what stands in backticks is code, and the name of a schema is a link to it."""

    def code(match: re.Match[str]) -> str:
        word = match[1]
        return f'<a href="#{word}"><code>{word}</code></a>' if known(word) else f"<code>{word}</code>"

    return lambda text: Markup(_CODE.sub(code, str(escape(text))))  # noqa: S704 - escaped before


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tenure.serve", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose(lambda word: word.isidentifier() and word[:1].isupper())
    return environment
