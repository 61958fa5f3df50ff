"""Applications are read from YAML as it is written, and what is wrong with it is told with its line."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flamepy.core.types import ApplicationAttributes, ApplicationSchema, Shim
from hearth.cli.app_file import ApplicationFileError, application_document, read_applications

FULL = """
metadata:
  name: first
spec:
  shim: host
  image: "img"
  description: >-
    two
    lines
  labels: [a, b]
  command: python3
  arguments: [-m, app, 8080, 0x10, yes]
  environments:
    PORT: 8080
    EMPTY:
    FLAG: true
  working_directory: /opt/app
  max_instances: 4
  delay_release: 60
  schema:
    input: '{"type": "string"}'
    output: {type: array, items: {type: integer}}
  url: file:///x.tar.gz
  installer: python
---
---
metadata: {name: second}
spec:
  shim: Wasm
  environments:
  - name: A
    value: 1.50
  - {name: B}
---
metadata: {name: third}
"""


def test_everything_that_flmctl_takes_is_read_as_it_is_written() -> None:
    first, second, third = read_applications(FULL, "apps.yaml")
    assert first == (
        "first",
        ApplicationAttributes(
            shim=Shim.HOST,
            image="img",
            description="two lines",
            labels=["a", "b"],
            command="python3",
            arguments=["-m", "app", "8080", "0x10", "yes"],
            environments={"PORT": "8080", "EMPTY": "", "FLAG": "true"},
            working_directory="/opt/app",
            max_instances=4,
            delay_release=60,
            schema=ApplicationSchema(
                input='{"type": "string"}', output=json.dumps({"type": "array", "items": {"type": "integer"}})
            ),
            url="file:///x.tar.gz",
            installer="python",
        ),
    )
    assert second == ("second", ApplicationAttributes(shim=Shim.WASM, environments={"A": "1.50", "B": ""}))
    assert third == ("third", ApplicationAttributes())


def test_anchors_and_merged_mappings_are_followed() -> None:
    text = (
        "metadata: {name: a}\nspec: &base\n  command: run\n  environments: &env {X: 1}\n---\n"
        "metadata: {name: b}\nspec:\n  environments:\n    <<: {X: 2}\n    Y: 3\n"
    )
    _, (_, second) = read_applications(text, "f")
    assert second.environments == {"X": "2", "Y": "3"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f: there is no application in it, want metadata.name and spec"),
        ("---\n---\n", "f: there is no application in it"),
        ("just text", "f:1: the document is no mapping"),
        ("spec: {}", "f:1: there is no metadata.name"),
        ("metadata:\n  name:\n", "f:2: there is no metadata.name"),
        ("metadata: {name: a}\nspec:\n  comand: x\n", "f:3: spec has an unknown key 'comand', did you mean 'command'?"),
        ("metadata: {name: a}\nsepc: {}\n", "f:2: the document has an unknown key 'sepc', did you mean 'spec'?"),
        ("metadata: {nam: a}\n", "f:1: metadata has an unknown key 'nam', did you mean 'name'?"),
        ("metadata: {name: a}\nspec: {qqqq: x}\n", "f:2: spec has an unknown key 'qqqq', want one of shim, image"),
        ("metadata: {name: a}\nspec:\n  command: a\n  command: b\n", "f:4: spec has 'command' twice"),
        ("metadata: {name: a}\nspec:\n  arguments: -m app\n", "f:3: spec.arguments is no list"),
        ("metadata: {name: a}\nspec:\n  command: [a]\n", "f:3: spec.command is no text"),
        ("metadata: {name: a}\nspec:\n  delay_release: 1m\n", "f:3: spec.delay_release is '1m', want a whole number"),
        ("metadata: {name: a}\nspec:\n  max_instances: -1\n", "f:3: spec.max_instances is '-1'"),
        ("metadata: {name: a}\nspec:\n  shim: docker\n", "f:3: spec.shim is 'docker', want Host or Wasm"),
        ("metadata: {name: a}\nspec:\n  environments:\n  - value: 1\n", "f:4: spec.environments has an entry without"),
        ("metadata: {name: a}\nspec:\n  schema: {inputs: x}\n", "unknown key 'inputs', did you mean 'input'?"),
        ("metadata: {name: a}\n---\nmetadata: {name: b}\nspec: []\n", "f:4: spec is no mapping"),
        ("metadata: {name: 'a\n", "f:2: "),
        ("a: b: c\n", "f:1: mapping values are not allowed here"),
        ("a: !!python/object:os.system {}", "unknown key 'a'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ApplicationFileError) as refused:
        read_applications(text, "f")
    assert told in str(refused.value)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)
ATTRIBUTES = st.builds(
    ApplicationAttributes,
    shim=st.sampled_from([None, *Shim]),
    description=st.none() | TEXTS,
    labels=st.none() | st.lists(TEXTS, max_size=3),
    command=st.none() | TEXTS,
    arguments=st.none() | st.lists(TEXTS, max_size=3),
    environments=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
    max_instances=st.none() | st.integers(0, 1 << 31),
    schema=st.none() | st.builds(ApplicationSchema, input=st.none() | TEXTS),
    url=st.none() | TEXTS,
)


@given(ATTRIBUTES)
def test_what_is_written_is_read_back(attributes: ApplicationAttributes) -> None:
    text = yaml.safe_dump(application_document("name", attributes), sort_keys=False, allow_unicode=True)
    assert read_applications(text, "f") == [("name", attributes)]
