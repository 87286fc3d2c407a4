"""The API's description, made from the models of `serve/wire.py`.

Enters: models. Leaves: parts of an OpenAPI 3.1 document. Invariant: nothing is described that no model says, and every
example is made of the examples of its fields, so that an example cannot speak of a field that is not there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

__all__ = ["components", "documented", "example_of", "models_in", "schema_of", "summary_of"]

_REF = "#/components/schemas/{model}"


def components(*, requests: Iterable[type[BaseModel]], answers: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """The schemas of models, by name.

    Parameters
    ----------
    requests : iterable of type
        What may be left out is not required of a request.
    answers : iterable of type
        Whatever has a default is answered all the same.

    Examples
    --------
    >>> from tenure.serve.wire import LiveAnswer
    >>> list(components(requests=[], answers=[LiveAnswer]))
    ['LiveAnswer']
    """
    wanted: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((model, "validation") for model in requests),
        *((model, "serialization") for model in answers),
    ]
    _, document = models_json_schema(wanted, ref_template=_REF)
    schemas: dict[str, Any] = document["$defs"]
    return schemas


def schema_of(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a model's schema among the components."""
    return {"$ref": _REF.format(model=model.__name__)}


def summary_of(model: type[BaseModel]) -> str:
    """The first line of a model's docstring."""
    return inspect.cleandoc(model.__doc__ or "").partition("\n")[0]


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """One document of a model: the example that it gives, or one of its fields' examples.

    Examples
    --------
    >>> from tenure.serve.wire import LiveAnswer, ScoreRequest
    >>> example_of(LiveAnswer), example_of(ScoreRequest)
    ({'status': 'ok'}, {'customer_id': 'c100', 'explain': True})
    """
    extra = model.model_config.get("json_schema_extra")
    examples = extra.get("examples") if isinstance(extra, dict) else None
    if isinstance(examples, list) and isinstance(examples[0], dict):
        return dict(examples[0])
    return {name: _example(field) for name, field in model.model_fields.items()}


def _example(field: FieldInfo) -> Any:
    if field.examples:
        return field.examples[0]
    return _example_in(field.annotation)


def _example_in(annotation: Any) -> Any:
    """An example of what an annotation allows: of a list one of each model, else of the first that there is one of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return example_of(annotation)
    if get_origin(annotation) is list:
        return [example_of(model) for model in models_in(annotation)]
    inner = (_example_in(argument) for argument in get_args(annotation))
    return next((example for example in inner if example is not None), None)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names, in its order.

    Examples
    --------
    >>> from tenure.serve.wire import LiveAnswer, ReadyAnswer
    >>> models_in(list[LiveAnswer] | ReadyAnswer | None) == [LiveAnswer, ReadyAnswer]
    True
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def documented(
    *, path: type[BaseModel] | None = None, query: type[BaseModel] | None = None, body: type[BaseModel] | None = None
) -> dict[str, Any]:
    """What an OpenAPI operation says of a route's parameters and body.

    Parameters
    ----------
    path, query : type, optional
        Models of which every field is a parameter.
    body : type, optional
        Model of the JSON body; its schema is among the `components`.

    Returns
    -------
    dict
        For FastAPI's `openapi_extra`.

    Examples
    --------
    >>> from tenure.serve.wire import ScoreQuery
    >>> [parameter["name"] for parameter in documented(query=ScoreQuery)["parameters"]]
    ['mode', 'explain']
    """
    parameters = [*_parameters(path, "path"), *_parameters(query, "query")]
    said: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if body is not None:
        content = {"schema": schema_of(body), "example": example_of(body)}
        said["requestBody"] = {"required": True, "content": {"application/json": content}}
    return said


def _parameters(model: type[BaseModel] | None, where: str) -> list[dict[str, Any]]:
    if model is None:
        return []
    properties: Mapping[str, Any] = model.model_json_schema()["properties"]
    return [_parameter(name, dict(schema), where) for name, schema in properties.items()]


def _parameter(name: str, schema: dict[str, Any], where: str) -> dict[str, Any]:
    schema.pop("title", None)
    text, examples = schema.pop("description", ""), schema.pop("examples", None)
    parameter = {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}
    return parameter | ({"example": examples[0]} if examples else {})
