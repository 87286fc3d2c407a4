"""Requests that nobody should send, made from the API's own description: each field of each route, wrong in many ways.

Enters: the OpenAPI document and a valid request of each route. Leaves: requests, each with what has to come of it: a
refusal that names the field, or any answer that is no failure where the description lets it pass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from tenure.serve.typed import field_path
from tests.fault.raw import Asked, Said
from tests.serve.project import SCORED

Places = tuple[str | int, ...]
Made = tuple[str, bytes, tuple[str, ...] | None]
"""A name, a body, and the fields of which it has to be refused for one; None: it may pass."""
MEGABYTE = 1 << 20
MARK = "@@"

NUMBERS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e308", b"-1e308", b"1e309", b"-1e999999", b"3.5e38", b"1" * 400, b"1" * 9_000,
    b"0." + b"1" * 9_000, b"-0.0", b"5e-324", b"0", b"-1", b"2.5", b"9223372036854775808",
)  # fmt: skip
KINDS = (b"null", b"true", b"[]", b"{}", b"[[[]]]", b"[null]", b'{"a":{"b":[1]}}', b'{"":0}', b'"text"')
TEXTS = (
    b'""', b'" "', b'"\\u0000"', b'"a\\u0000b"', b'"\\ud800"', b'"\\udfff\\ud800"', b'"\xff"', b'"\xc0\xae\xc0\xae"',
    b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'".."', b'"../../etc/passwd"', b'"..\\\\..\\\\boot.ini"',
    b'"a/../b"', b'"/etc/passwd"', b'"%2e%2e%2f"', b'"\\r\\nX-Injected: 1"', b'"\xe2\x80\xa8"', b'"\xef\xbf\xbd"',
    b'"' + b"a" * 201 + b'"', b'"' + b"a" * 100_000 + b'"', b"\"' OR 1=1 --\"", b'"{{7*7}}"', b'"<script>"',
    b'"\xf0\x9f\x92\xa9"', b'"1e308"', b'"NaN"', b'"9999-12-31T23:59:59Z"', b'"-0001-01-01"', b'"2025-13-45"',
)  # fmt: skip
NOT_JSON = (b"", b"nul", b"'text'", b"\\", b"0x10", b"01", b"+1", b".5", b"1.", b"[1,]", b"{a:1}", b"\x00", b"\xff\xfe")

# As a path has them; what is no id by its characters, and what names nobody.
BAD_IDS = (
    b"..", b"%2e%2e", b".%2e", b"..%2f..%2fetc%2fpasswd", b"%2e%2e%2f%2e%2e%2fetc%2fpasswd", b"..%5c..%5cwindows",
    b"a%2f..%2fb", b"../../../metrics", b"....//....//etc", b"..;/", b"..%00", b"%00", b"a%00b", b"%ff",
    b"%c0%ae%c0%ae", b"%ed%a0%80", b"%f4%90%80%80",
    b"%0d%0aX-Injected:%201", b"%0a", b"%7f", b"%c2%85", b"%e2%80%a8", b"%ef%bf%bd", b"",
    b"a" * 201, b"%61" * 201, b"%c3%a9" * 201, b"a" * 8_000, b"a" * 9_000, b"a/b", b"//", b"%2f",
)  # fmt: skip
ODD_IDS = (
    b".", b"%20", b"%252e%252e%252f", b"%zz", b"%", b"%u0000", b"'%20OR%201=1--", b"%7b%7b7*7%7d%7d",
    b"$%7bjndi:ldap%7d", b"%3cscript%3e",
    b"%f0%9f%92%a9", b"NaN", b"null", b"-1", b"1e308", b"*", b"%2a%3f%5b", b"%e2%80%ae", b"a" * 200,
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """A request, and what has to come of it.

    Parameters
    ----------
    name : str
        For whoever reads of a failure.
    fields : tuple of str or None
        It has to be refused for one of these fields, or something in it; None: whatever is no failure will do.
    """

    name: str
    asked: Asked
    fields: tuple[str, ...] | None


def wrong_with(hostile: Hostile, said: Said) -> str | None:
    """What is wrong with an answer; None where it is what had to come."""
    status, field = said.refusal
    if not said.status or status >= 500:
        return "the service failed"
    if 400 <= status < 500 and hostile.asked.method != "HEAD" and not field:
        return "no field is named"
    if hostile.fields is None:
        return None
    if not 400 <= status < 500:
        return "it was let through"
    return None if any((field or "").startswith(name) for name in hostile.fields) else f"{field} is not what is wrong"


class Api:
    """The description, and a valid body of every route that takes one.

    Parameters
    ----------
    document : mapping
        OpenAPI.
    features : sequence of str
        That the version needs.
    time : str
        When an event may have happened.
    """

    def __init__(self, document: Mapping[str, Any], features: list[str], time: str) -> None:
        self.document = document
        self._sample = {
            "features": dict.fromkeys(features, 1.0),
            "customer_id": SCORED,
            "time": time,
            "type": "order",
            "amount": 9.5,
        }

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def bodies(self, operation: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The examples of a body, with what the project at hand has in place of what they made up."""
        name = self._body_schema(operation)["$ref"].rpartition("/")[2]
        return [self._adapted(example) for example in self.document["components"]["schemas"][name]["examples"]]

    def accepts(self, operation: Mapping[str, Any], body: Any) -> bool:
        """Whether the description lets a body pass."""
        schema = {**self._body_schema(operation), "components": self.document["components"]}
        return jsonschema_rs.validator_for(schema).is_valid(body)

    def _body_schema(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
        return found

    def required(self, operation: Mapping[str, Any]) -> list[str]:
        """The keys that a body has to have."""
        name = self._body_schema(operation)["$ref"].rpartition("/")[2]
        return list(self.document["components"]["schemas"][name].get("required", ()))

    def _adapted(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._adapted(item) for item in value]
        if isinstance(value, dict):
            more = {"recorded": self._sample["time"], "id": "e1"} if "time" in value else {}
            return {name: self._sample.get(name, self._adapted(item)) for name, item in (value | more).items()}
        return value


def hostile(api: Api) -> Iterator[Hostile]:
    """Every request."""
    for method, path, operation in api.operations():
        yield from _of_parameters(method, path, operation)
        yield from _of_heads(method, path, operation)
        if "requestBody" in operation:
            yield from _of_bodies(api, method, path, operation)
    yield from _of_places(api)


def _of_parameters(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[Hostile]:
    """Values of the path, the query and the head."""
    given = {parameter["name"]: parameter for parameter in operation.get("parameters", ())}
    for name, parameter in given.items():
        if parameter["in"] == "path":
            place = path.encode().replace(b"{%s}" % name.encode(), b"%s")
            for text in BAD_IDS:
                yield Hostile(f"{path} {text[:40]!r}", Asked(method, place % text), (name, "path"))
            for text in ODD_IDS:
                yield Hostile(f"{path} {text[:40]!r}", Asked(method, place % text), None)
        elif parameter["in"] == "query":
            yield from _of_query(method, _filled(path), name)
        else:
            for text in (b"", b"a" * 201, b"a\tb", b"\xe9", b"\xff", b"a" * 60_000):
                asked = Asked(method, _filled(path), ((name.encode(), text),), b'{"events":[1]}')
                yield Hostile(f"{path} {name} {text[:20]!r}", asked, (name,))
            twice = ((name.encode(), b"a"), (name.encode(), b"b"))
            yield Hostile(f"{path} {name} twice", Asked(method, _filled(path), twice, b'{"events":[1]}'), (name,))
    if any(parameter["in"] == "query" for parameter in given.values()):
        for query in (
            b"%ff=1",
            b"nonsense=1",
            b"=",
            b"&".join(b"a%d=" % i for i in range(101)),
            b"%5b%5d=1",
            b"mod%65x=1",
        ):
            fields = ("query", "nonsense", "modex", '[""]', '["[]"]', "a0")
            yield Hostile(f"{path}?{query[:20]!r}", Asked(method, _filled(path) + b"?" + query), fields)


def _of_query(method: str, target: bytes, name: str) -> Iterator[Hostile]:
    key = name.encode()
    for text in (
        b"",
        b"nonsense",
        b"%00",
        b"NaN",
        b"1e308",
        b"null",
        b"[]",
        b"a" * 2_000,
        b"%c3%a9",
        b"..%2f..",
        b"-1",
    ):
        yield Hostile(f"{name}={text[:20]!r}", Asked(method, target + b"?" + key + b"=" + text), (name,))
    yield Hostile(f"{name}=%ff", Asked(method, target + b"?" + key + b"=%ff"), (name, "query"))
    yield Hostile(f"{name} twice", Asked(method, target + b"?" + key + b"=auto&" + key + b"=auto"), (name,))
    yield Hostile(f"{name} too long", Asked(method, target + b"?" + key + b"=" + b"a" * 9_000), ("path",))


def _of_heads(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[Hostile]:
    """Keys, too much of everything, and other methods."""
    target, body = _filled(path), b"{}" if "requestBody" in operation else None
    if operation.get("security") != []:
        for shown in (
            b"",
            b"Bearer",
            b"Bearer ",
            b"Basic YTpi",
            b"Bearer \xff",
            b"Bearer tenure_0_" + b"a" * 43,
            b"a" * 8_000,
        ):
            asked = Asked(method, target, ((b"Authorization", shown),), body)
            yield Hostile(f"{path} key {shown[:20]!r}", asked, ("authorization",))
    many = tuple((b"X-%d" % number, b"a") for number in range(100))
    yield Hostile(f"{path} 100 headers", Asked(method, target, many, body), ("headers",))
    yield Hostile(f"{path} large head", Asked(method, target, ((b"X", b"a" * 70_000),), body), ("headers",))
    yield Hostile(f"{path} long target", Asked(method, target + b"?" + b"a" * 9_000, (), body), ("path",))
    for name in (b"\xff\xfe", b"a" * 65, b"../..", b"%0d%0a", b"<script>"):
        yield Hostile(f"{path} request id", Asked(method, target, ((b"X-Request-Id", name),), body), None)
    for other in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "PURGE"):
        if other != method:
            fields = None if other == "HEAD" else ("method",)
            yield Hostile(f"{other} {path}", Asked(other, target, ((b"Connection", b"close"),)), fields)
    if body is not None:
        yield from _of_types(method, path, body)


def _of_types(method: str, path: str, body: bytes) -> Iterator[Hostile]:
    """Bodies of other types, and packed ones."""
    target = _filled(path)
    for kind in (
        b"",
        b"text/plain",
        b"application/xml",
        b"multipart/form-data; boundary=a",
        b"application/json-seq",
        b"\xff",
    ):
        asked = Asked(method, target, ((b"Content-Type", kind),), body)
        yield Hostile(f"{path} type {kind!r}", asked, ("content-type",))
    for packed in (b"gzip", b"br", b"deflate, gzip", b"nonsense", b"identity, identity"):
        asked = Asked(method, target, ((b"Content-Encoding", packed),), body)
        yield Hostile(f"{path} packed {packed!r}", asked, ("content-encoding",))


def _of_bodies(api: Api, method: str, path: str, operation: Mapping[str, Any]) -> Iterator[Hostile]:
    """Bodies: (name, bytes, fields of which it has to be refused for one) of each generator, as requests."""
    samples = api.bodies(operation)
    made = [
        *(body for sample in samples for body in _of_values(api, operation, sample)),
        *(
            body
            for sample in samples
            for places in _objects(sample)
            for body in _of_object(api, operation, sample, places)
        ),
        *(body for sample in samples for body in _cut(json.dumps(sample).encode())),
        *(body for sample in samples for body in _of_lists(sample)),
        *_huge(api.required(operation)),
    ]
    for name, raw, fields in made:
        yield Hostile(f"{path} {name}", Asked(method, _filled(path), (), raw), fields)


def _of_values(api: Api, operation: Mapping[str, Any], sample: Any) -> Iterator[Made]:
    """At every place every value that it should not have, and much of it, and deep."""
    for places in _places(sample):
        at = field_path(places)
        marked = json.dumps(_with(sample, places, MARK)).encode()
        for raw in (*NUMBERS, *KINDS, *TEXTS, *NOT_JSON):
            # A score of nobody is refused as a whole; a list of nothing is none.
            around = (field_path(places[:-1]),) if raw == b"null" or not raw else ()
            body = marked.replace(f'"{MARK}"'.encode(), raw)
            may_pass = _is_fit(body) and api.accepts(operation, json.loads(body))
            yield f"{at} = {raw[:30]!r}", body, None if may_pass else (at, *around, "body")
        for deep in (b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 10_000):
            yield f"{at} deep", marked.replace(f'"{MARK}"'.encode(), deep), ("body",)
        yield f"{at} of ten megabytes", marked.replace(MARK.encode(), b"a" * (10 * MEGABYTE)), ("body",)
        almost = marked.replace(MARK.encode(), b"a" * (MEGABYTE - len(marked) - 100))
        may_pass = api.accepts(operation, json.loads(almost))
        yield f"{at} of a megabyte", almost, None if may_pass else (at, "body")


def _cut(whole: bytes) -> Iterator[Made]:
    """A body that ends too soon, goes on too long, or has bytes that are no text."""
    for cut in range(0, len(whole), max(len(whole) // 12, 1)):
        yield f"cut at {cut}", whole[:cut], ("body",)
        yield f"spoiled at {cut}", whole[:cut] + b"\xff" + whole[cut:], ("body",)
    for raw in (b"\xef\xbb\xbf" + whole, whole + whole, whole + b",", b"[" + whole, whole.decode().encode("utf-16")):
        yield f"{raw[:12]!r}…{raw[-4:]!r}", raw, ("body",)


def _huge(required: list[str]) -> Iterator[Made]:
    """A megabyte of what takes long to read, to judge or to say."""
    for raw in (
        b" " * MEGABYTE, b"[" * MEGABYTE, b'"' * MEGABYTE, b"\\" * MEGABYTE, b'{"a":' * 200_000, b"1" * MEGABYTE,
        b'"' + b"\\u0000" * 170_000 + b'"', b"[" + b"0," * 500_000 + b"0]", b"\xff" * MEGABYTE,
    ):  # fmt: skip
        yield f"a megabyte of {raw[:8]!r}", raw, ("body",)
    yield "80,000 keys", b"{" + b",".join(b'"k%d":1' % n for n in range(80_000)) + b"}", ("k0",)
    yield "a key of a megabyte", b'{"' + b"a" * (MEGABYTE - 10) + b'":1}', ('["aaa', *required)
    yield "the same key often", b"{" + b",".join([b'"k":1'] * 170_000) + b"}", ("k", *required)


def _of_object(api: Api, operation: Mapping[str, Any], sample: Any, places: Places) -> Iterator[Made]:
    """Keys that are missing, not known, or said twice."""
    found = _at(sample, places)
    for name in found:
        without = _with(sample, places, {key: value for key, value in found.items() if key != name})
        fields = (field_path(places), field_path((*places, name)), "body")
        is_fit = api.accepts(operation, without)
        yield f"without {fields[1]}", json.dumps(without).encode(), None if is_fit else fields
        twice = json.dumps(_with(sample, places, {MARK: found[name]} | found)).replace(f'"{MARK}"', json.dumps(name))
        yield f"twice {fields[1]}", twice.encode(), None if field_path(places).startswith("events[") else fields
    for name in ("nonsense", "", "__proto__", "customer_idd", "\x00", "a" * 5_000, "a.b[0]", "💩"):
        more = _with(sample, places, {**found, name: 1})
        fields = (field_path(places), field_path((*places, name)), "body")
        is_fit = api.accepts(operation, more)
        yield f"with {fields[1][:60]}", json.dumps(more).encode(), None if is_fit else fields


def _of_lists(sample: Any) -> Iterator[Made]:
    """None, one more than there may be, and as many as there may be, each of them wrong."""
    for name, value in sample.items():
        if not isinstance(value, list):
            continue
        for items in ([], value * 1_001, [0] * 1_001):
            yield f"{len(items)} {name}", json.dumps({name: items}).encode(), (name,)
        wrong: list[Any] = [
            None,
            "text",
            [],
            {},
            {"nonsense" * 10: 1},
            {"customer_id": "../.."},
            {"features": {"a": 1}},
        ]
        for item in wrong:
            yield f"{item!r} a thousand times", json.dumps({name: [item] * 1_000}).encode(), (name,)


def _of_places(api: Api) -> Iterator[Hostile]:
    """Paths at which nothing is, near those at which something is."""
    for path in api.document["paths"]:
        filled = _filled(path)
        near = (
            filled + b"/",
            b"/" + filled,
            filled + b"/..",
            filled + b"/x/y",
            filled.swapcase(),
            filled + b"%00",
            filled + b";a",
        )
        for target in near:
            passes = b"{" in path.encode() and target.count(b"/") == path.count("/") and not target.endswith(b"/")
            yield Hostile(
                f"near {target!r}", Asked("GET", target), None if passes else ("path", "method", "customer_id")
            )
    for target in (
        b"/", b"//", b"/..", b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/.env", b"/.git/config",
        b"/static/../app", b"/v1", b"/v1/", b"/v1/scores/x", b"/v1/events/1", b"/docs/../metrics", b"/openapi.json%2f",
        b"/docs/oauth2-redirect",
        b"/redoc", b"/%ff", b"/a" * 4_000, b"/?" + b"a" * 8_000,
    ):  # fmt: skip
        yield Hostile(f"nothing at {target[:30]!r}", Asked("GET", target), ("path",))


def _filled(path: str) -> bytes:
    return path.replace("{customer_id}", SCORED).encode()


def _is_fit(body: bytes) -> bool:
    """Whether JSON is UTF-8 of text and finite numbers that a float can be."""
    try:
        return _is_finite(json.loads(body))
    except (ValueError, RecursionError):
        return False


def _is_finite(value: Any) -> bool:
    if isinstance(value, float | int):
        return abs(value) < 1e300 and math.isfinite(value)
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(_is_finite, inner))


def _places(value: Any, places: Places = ()) -> Iterator[Places]:
    """Every place of a document, itself first."""
    yield places
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, item in inner:
        yield from _places(item, (*places, place))


def _objects(value: Any) -> Iterator[Places]:
    return (places for places in _places(value) if isinstance(_at(value, places), dict))


def _at(value: Any, places: Places) -> Any:
    for place in places:
        value = value[place]
    return value


def _with(value: Any, places: Places, new: Any) -> Any:
    """A copy with another value at a place."""
    if not places:
        return new
    first, *rest = places
    if isinstance(value, list):
        return [_with(item, tuple(rest), new) if index == first else item for index, item in enumerate(value)]
    return {name: _with(item, tuple(rest), new) if name == first else item for name, item in value.items()}
