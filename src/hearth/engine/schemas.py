# SPDX-License-Identifier: Apache-2.0
"""Whether a text is a JSON Schema: JSON, and each keyword of the standard has a value of its kind.

Schemas are told to people and tools and never enforced here, so this is what a meta-schema would find
(drafts 4 to 2020-12 alike) and no more: unknown keywords are anybody's, references are not followed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["problem_of_schema"]

_TYPES = {"null", "boolean", "object", "array", "number", "integer", "string"}


class _Kind(NamedTuple):
    """What some keywords want."""

    wanted: str
    is_right: Callable[[Any], bool]
    schemas_in: Callable[[Any], list[Any]] = lambda _: []
    """The schemas that a right value holds; whether they are is looked at in their turn."""


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value % 1 == 0


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_SCHEMA = _Kind("a schema (an object or a boolean)", lambda value: isinstance(value, (dict, bool)), _as_list)
_SCHEMAS = _Kind("a list of at least one schema", lambda value: isinstance(value, list) and bool(value), _as_list)
_ITEMS = _Kind("a schema or a list of them", lambda value: isinstance(value, (dict, bool, list)), _as_list)
_NAMED = _Kind("an object of schemas", lambda value: isinstance(value, dict), lambda value: list(value.values()))
_TYPE = _Kind("the name of a JSON type, or a list of such", _is_type)
_LIST = _Kind("a list", lambda value: isinstance(value, list))
_TEXTS = _Kind("a list of texts", _is_text_list)
_TEXT = _Kind("a text", lambda value: isinstance(value, str))
_NUMBER = _Kind("a number", _is_number)
_STEP = _Kind("a number over 0", lambda value: _is_number(value) and value > 0)
_BOUND = _Kind("a number or a boolean", lambda value: isinstance(value, (int, float)))  # a boolean in draft 4
_COUNT = _Kind("a whole number from 0 on", _is_count)
_BOOLEAN = _Kind("a boolean", lambda value: isinstance(value, bool))

_KINDS = {
    **dict.fromkeys(["additionalItems", "additionalProperties", "contains", "contentSchema", "propertyNames"], _SCHEMA),
    **dict.fromkeys(["if", "then", "else", "not", "unevaluatedItems", "unevaluatedProperties"], _SCHEMA),
    **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], _SCHEMAS),
    **dict.fromkeys(["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"], _NAMED),
    **dict.fromkeys(["enum", "examples"], _LIST),
    **dict.fromkeys(["$anchor", "$comment", "$id", "$ref", "$schema", "description", "title"], _TEXT),
    **dict.fromkeys(["contentEncoding", "contentMediaType", "format", "pattern"], _TEXT),
    **dict.fromkeys(["maximum", "minimum"], _NUMBER),
    **dict.fromkeys(["exclusiveMaximum", "exclusiveMinimum"], _BOUND),
    **dict.fromkeys(["maxContains", "maxItems", "maxLength", "maxProperties"], _COUNT),
    **dict.fromkeys(["minContains", "minItems", "minLength", "minProperties"], _COUNT),
    **dict.fromkeys(["deprecated", "readOnly", "uniqueItems", "writeOnly"], _BOOLEAN),
    "items": _ITEMS,
    "type": _TYPE,
    "required": _TEXTS,
    "multipleOf": _STEP,
}
"""By keyword."""


def problem_of_schema(text: str) -> str | None:
    """What is wrong with a text that should be a JSON Schema, as the end of a sentence; None if nothing is."""
    try:
        to_check = [json.loads(text)]
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    while to_check:  # a list and no recursion: how deep it is nested is the sender's choice
        schema = to_check.pop()
        if not _SCHEMA.is_right(schema):
            return f"is no JSON Schema (want an object or a boolean, got {type(schema).__name__})"
        for keyword, value in schema.items() if isinstance(schema, dict) else ():
            kind = _KINDS.get(keyword)
            if kind is None:
                continue
            if not kind.is_right(value):
                return f"is no JSON Schema: {keyword!r} is not {kind.wanted}"
            to_check += kind.schemas_in(value)
    return None
