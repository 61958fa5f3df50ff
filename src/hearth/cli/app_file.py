# SPDX-License-Identifier: Apache-2.0
"""Applications as YAML: documents with ``metadata.name`` and ``spec``, as flmctl has them."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from flamepy.core.types import ApplicationAttributes, ApplicationSchema, Shim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ApplicationFileError", "application_document", "read_applications"]

_SPEC = [field.name for field in fields(ApplicationAttributes)]
_SCHEMA = [field.name for field in fields(ApplicationSchema)]
_NULL = "tag:yaml.org,2002:null"


class ApplicationFileError(Exception):
    """The file is wrong; the text says where and how."""


def read_applications(text: str, name: str) -> list[tuple[str, ApplicationAttributes]]:
    """Every application of a file, in order. name: of the file, for people.

    Texts are taken as they are written, so ``PORT: 0x10`` is 0x10. Raises ApplicationFileError.
    """
    reader = _Reader(name)
    loader = yaml.SafeLoader(text)
    try:
        found = []
        while loader.check_node():
            node = loader.get_node()
            if node is not None and node.tag != _NULL:  # nothing between two separators
                found.append(reader.application(loader, node))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ApplicationFileError(f"{where}: {getattr(error, 'problem', None) or error}") from None
    finally:
        loader.dispose()
    if not found:
        raise ApplicationFileError(f"{name}: there is no application in it, want metadata.name and spec")
    return found


def application_document(name: str, attributes: ApplicationAttributes) -> dict[str, Any]:
    """The document that `read_applications` reads back; without what was not said."""
    spec: dict[str, Any] = {key: value for key in _SPEC if (value := getattr(attributes, key)) is not None}
    if attributes.shim is not None:
        spec["shim"] = attributes.shim.name.capitalize()
    if attributes.schema is not None:
        schema = attributes.schema
        spec["schema"] = {key: value for key in _SCHEMA if (value := getattr(schema, key)) is not None}
    return {"metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class _Reader:
    """Reads nodes, which know their lines, rather than values, which do not."""

    file: str

    def application(self, loader: yaml.SafeLoader, node: yaml.Node) -> tuple[str, ApplicationAttributes]:
        document = self.mapping(loader, node, "the document", ("metadata", "spec"))
        if "metadata" not in document:
            self.refuse(node, "there is no metadata.name")
        metadata = self.mapping(loader, document["metadata"], "metadata", ("name",))
        name = self.text(metadata["name"], "metadata.name") if "name" in metadata else None
        if name is None:
            self.refuse(document["metadata"], "there is no metadata.name")
        if "spec" not in document or document["spec"].tag == _NULL:
            return name, ApplicationAttributes()
        spec = self.mapping(loader, document["spec"], "spec", _SPEC)
        attributes = {key: self.attribute(loader, key, value) for key, value in spec.items() if value.tag != _NULL}
        return name, ApplicationAttributes(**attributes)

    def attribute(self, loader: yaml.SafeLoader, key: str, node: yaml.Node) -> Any:
        what = f"spec.{key}"
        if key in ("labels", "arguments"):
            return [self.text(each, what) or "" for each in self.items(node, what)]
        if key in ("max_instances", "delay_release"):
            return self.number(node, what)
        if key == "environments":
            return dict(self.variables(loader, node))
        if key == "schema":
            schema = self.mapping(loader, node, what, _SCHEMA)
            return ApplicationSchema(**{part: self.json_text(loader, value) for part, value in schema.items()})
        if key == "shim":
            return self.shim(node)
        return self.text(node, what)

    # -- kinds of values

    def mapping(
        self, loader: yaml.SafeLoader, node: yaml.Node, what: str, known: Iterable[str] | None
    ) -> dict[str, yaml.Node]:
        """The values by key. known: all keys that may be there; None for any."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} is no mapping")
        loader.flatten_mapping(node)
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = self.text(key_node, f"a key of {what}") or ""
            if known is not None and key not in known:
                near = difflib.get_close_matches(key, list(known), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"want one of {', '.join(known)}"
                self.refuse(key_node, f"{what} has an unknown key {key!r}, {hint}")
            if key in found:
                self.refuse(key_node, f"{what} has {key!r} twice")
            found[key] = value
        return found

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, f"{what} is no list")
        return list(node.value)

    def text(self, node: yaml.Node, what: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, f"{what} is no text")
        return None if node.tag == _NULL else str(node.value)

    def number(self, node: yaml.Node, what: str) -> int:
        text = self.text(node, what) or ""
        if not (text.isascii() and text.isdigit()):
            self.refuse(node, f"{what} is {text!r}, want a whole number from 0 on")
        return int(text)

    def shim(self, node: yaml.Node) -> Shim:
        text = self.text(node, "spec.shim") or ""
        if text.upper() not in Shim.__members__:
            self.refuse(node, f"spec.shim is {text!r}, want Host or Wasm")
        return Shim[text.upper()]

    def variables(self, loader: yaml.SafeLoader, node: yaml.Node) -> Iterator[tuple[str, str]]:
        """A mapping, or a list of name and value as Kubernetes has it."""
        what = "spec.environments"
        if not isinstance(node, yaml.SequenceNode):
            for key, value in self.mapping(loader, node, what, None).items():
                yield key, self.text(value, f"{what}.{key}") or ""
            return
        for item in node.value:
            pair = self.mapping(loader, item, what, ("name", "value"))
            if "name" not in pair:
                self.refuse(item, f"{what} has an entry without a name")
            said = self.text(pair["value"], what) if "value" in pair else None
            yield self.text(pair["name"], what) or "", said or ""

    def json_text(self, loader: yaml.SafeLoader, node: yaml.Node) -> str | None:
        """A JSON text as it is, or what is written out in YAML as one."""
        if isinstance(node, yaml.ScalarNode):
            return self.text(node, "spec.schema")
        return json.dumps(loader.construct_document(node))

    def refuse(self, node: yaml.Node, problem: str) -> NoReturn:
        raise ApplicationFileError(f"{self.file}:{node.start_mark.line + 1}: {problem}")
