"""What passes for a JSON Schema."""

from __future__ import annotations

import json

import pytest

from hearth.engine.schemas import problem_of_schema


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"type": "object", "properties": {"type": {"type": ["string", "null"]}, "items": {"minItems": 0}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"a": True}, "$ref": "#/$defs/a"},
        {"type": "array", "items": [{}, False], "additionalItems": {"multipleOf": 0.5}, "uniqueItems": True},
        {"minimum": -1, "exclusiveMinimum": True, "exclusiveMaximum": 7.5},
        {"enum": [1, "a", None], "const": {"type": 7}, "default": {"type": 7}, "my own": {"type": 7}},
        {"allOf": [{"if": {"minLength": 1}, "then": {}, "else": {}}, {"not": {}}], "required": []},
    ],
)
def test_a_schema_is_one(schema: object) -> None:
    assert problem_of_schema(json.dumps(schema)) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON: "),
        ("", "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ("[]", "(want an object or a boolean, got list)"),
        ("7", "(want an object or a boolean, got int)"),
        ('{"type": "strin"}', "'type' is not the name of a JSON type, or a list of such"),
        ('{"type": []}', "'type' is not"),
        ('{"properties": {"a": {"type": 1}}}', "'type' is not"),
        ('{"properties": {"a": "string"}}', "(want an object or a boolean, got str)"),
        ('{"properties": []}', "'properties' is not an object of schemas"),
        ('{"required": ["a", 1]}', "'required' is not a list of texts"),
        ('{"required": true}', "'required' is not a list of texts"),
        ('{"anyOf": []}', "'anyOf' is not a list of at least one schema"),
        ('{"items": 1}', "'items' is not a schema or a list of them"),
        ('{"maxItems": -1}', "'maxItems' is not a whole number from 0 on"),
        ('{"maxItems": 1.5}', "'maxItems' is not a whole number from 0 on"),
        ('{"minLength": true}', "'minLength' is not a whole number from 0 on"),
        ('{"multipleOf": 0}', "'multipleOf' is not a number over 0"),
        ('{"maximum": "9"}', "'maximum' is not a number"),
        ('{"title": 5}', "'title' is not a text"),
        ('{"enum": {}}', "'enum' is not a list"),
        ('{"uniqueItems": 1}', "'uniqueItems' is not a boolean"),
        ('{"not": ' * 400 + '{"type": 1}' + "}" * 400, "'type' is not"),
    ],
)
def test_what_is_none_is_told_where_it_goes_wrong(text: str, problem: str) -> None:
    assert problem in (problem_of_schema(text) or "")
