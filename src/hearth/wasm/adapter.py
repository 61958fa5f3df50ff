# SPDX-License-Identifier: Apache-2.0
"""The adapter: a small component, in text, that stands between Python and a component and carries bytes quickly.

Python's wasmtime hands a `list<u8>` over byte by byte, but a `string` in one piece. So the adapter exports
the same three functions with strings for bytes, base64 in them, and calls the component's own functions with
the lists. Both have the same form in memory, a pointer and a length, so a result needs no copying either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmtime.component import (
    S8,
    S16,
    S32,
    U8,
    U16,
    U32,
    Bool,
    Char,
    EnumType,
    ListType,
    OptionType,
    RecordType,
    ResultType,
    String,
    ValType,
)

from hearth.wasm.adapter_memory import MEMORY_MODULE, RESULT
from hearth.wasm.binary import NotWrappable
from hearth.wasm.interface import INVOKE, SERVICE, is_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasmtime.component import FuncType

    from hearth.wasm.interface import Interface

__all__ = ["outer_text"]

_PLAIN = {
    Bool: "bool", Char: "char", String: "string",
    U8: "u8", U16: "u16", U32: "u32", S8: "s8", S16: "s16", S32: "s32",
}  # fmt: skip
"""Types without parts. Those of 64 bits are left out: they would move the payload of a result in memory."""

_MAX_FLAT = 16  # canonical ABI: more parameters than these travel through memory
_MAX_ERROR_PARTS = 60  # 4 to 8 bytes each: what there is room for behind RESULT


def outer_text(interface: Interface, imports: list[str]) -> str:
    """A component that joins the adapter with its first component, which is empty here and has those imports.

    Raises NotWrappable.
    """
    placeholders = "".join(f"\n  (import {_quoted(name)} (instance))" for name in imports)
    arguments = "".join(f" (with {_quoted(name)} (instance {index}))" for index, name in enumerate(imports))
    exports = "".join(f'\n  (export "{name}" (func $adapter "{name}"))' for name in interface.functions)
    return f"""(component {placeholders}
  (component $Component)
  {_adapter_text(interface)}
  (instance $component (instantiate $Component{arguments}))
  (alias export $component "{SERVICE}" (instance $service))
  (instance $adapter (instantiate $Adapter (with "service" (instance $service)))){exports})"""


def _quoted(name: str) -> str:
    return '"' + "".join(f"\\{byte:02x}" for byte in name.encode()) + '"'


def _adapter_text(interface: Interface) -> str:
    definitions = _Definitions(interface)
    functions = interface.functions.items()
    imported = "".join(definitions.function(name, function) for name, function in functions)
    options = '(memory (core memory $memory "memory")) (realloc (core func $memory "allocate"))'
    lowered = "".join(
        f'\n    (core func ${name} (canon lower (func $service "{name}") {options}))' for name in interface.functions
    )
    handed = " ".join(f'(export "{name}" (func ${name}))' for name in interface.functions)
    lifted = "".join(
        f'\n    (func (export "{name}"){_host_signature(function)} (canon lift (core func $main "{name}") {options}'
        ' (post-return (core func $memory "free"))))'
        for name, function in functions
    )
    return f"""(component $Adapter
    (import "service" (instance $service {"".join(definitions.lines)}{imported}))
    {MEMORY_MODULE}
    (core instance $memory (instantiate $Memory)){lowered}
    {_main_module(interface)}
    (core instance $main (instantiate $Main
      (with "memory" (instance $memory)) (with "service" (instance {handed})))){lifted})"""


class _Definitions:
    """How the types of the component are called in the adapter. Records and enums must be named as it names them."""

    def __init__(self, interface: Interface) -> None:
        self._names = {_shape(declared): name for name, declared in interface.types.items() if _has_name(declared)}
        self._known: set[str] = set()
        self.lines: list[str] = []

    def function(self, name: str, function: FuncType) -> str:
        params = "".join(f' (param "{name}" {self._spell(declared)})' for name, declared in function.params)
        return f'\n      (export "{name}" (func{params} (result {self._spell(function.result)})))'

    def _spell(self, declared: ValType | None) -> str:
        if not _has_name(declared):
            return _compose(declared, self._spell)
        name = self._names.get(_shape(declared))
        if name is None:
            raise NotWrappable("its interface uses a record or an enum that it does not export")
        if name not in self._known:
            self.lines.append(
                f"\n      (type $_{name} {_compose(declared, self._spell)})"
                f' (export "{name}" (type ${name} (eq $_{name})))'
            )
            self._known.add(name)
        return f"${name}"


def _has_name(declared: ValType | None) -> bool:
    return isinstance(declared, (RecordType, EnumType))


def _compose(declared: ValType | None, part: Callable[[ValType | None], str]) -> str:
    """The text of a type, its parts as `part` writes them."""
    if isinstance(declared, RecordType):
        return "(record" + "".join(f' (field "{name}" {part(field)})' for name, field in declared.fields) + ")"
    if isinstance(declared, EnumType):
        return "(enum" + "".join(f' "{name}"' for name in declared.names) + ")"
    if isinstance(declared, OptionType):
        return f"(option {part(declared.payload)})"
    if isinstance(declared, ListType):
        return f"(list {part(declared.element)})"
    if isinstance(declared, ResultType):
        return f"(result{'' if declared.ok is None else ' ' + part(declared.ok)} (error {part(declared.err)}))"
    plain = None if declared is None else _PLAIN.get(type(declared))
    if plain is None:
        raise NotWrappable(f"its interface uses a type that we do not carry, {type(declared).__name__}")
    return plain


def _shape(declared: ValType | None) -> str:
    """A text that is the same for equal types only."""
    return _compose(declared, _shape)


def _host_type(declared: ValType | None) -> str:
    """A type without names that has the same form in memory: tuples for records."""
    if isinstance(declared, EnumType):
        return "u8" if len(declared.names) <= 256 else "u16"
    if isinstance(declared, RecordType):
        return "(tuple" + "".join(f" {_host_type(field)}" for _, field in declared.fields) + ")"
    if isinstance(declared, ListType):
        raise NotWrappable("its errors have lists in them")
    return _compose(declared, _host_type)


def _params(function: FuncType) -> list[str]:
    """Context and input as values that take one or two places: the text of their types for the host."""
    (_, context), *inputs = function.params
    assert isinstance(context, RecordType)  # the interface has been checked
    params: list[str] = []
    for declared in [field for _, field in context.fields] + [declared for _, declared in inputs]:
        params += ["u32", "string"] if is_bytes(declared) else ["string"]
    return params


def _host_signature(function: FuncType) -> str:
    params = "".join(f' (param "p{index}" {param})' for index, param in enumerate(_params(function)))
    result = function.result
    assert isinstance(result, ResultType)
    ok = "" if result.ok is None else " (option string)"
    error = _host_type(result.err)
    if error.count(" ") > _MAX_ERROR_PARTS:
        raise NotWrappable("its errors are larger than what we carry")
    # A tuple of one has the form of the one, and Python can tell a tuple from an output.
    return f"{params} (result (result{ok} (error {error if error.startswith('(tuple') else f'(tuple {error})'})))"


def _main_module(interface: Interface) -> str:
    """Core functions that decode what comes, call the component, and encode what it returns."""
    imports, functions = "", ""
    for name, function in interface.functions.items():
        params = _params(function)
        places = sum(2 if param == "string" else 1 for param in params)
        if places > _MAX_FLAT:
            raise NotWrappable(f"{name} takes more than what we pass, {places} values")
        imports += f'\n      (import "service" "{name}" (func ${name} (param{places * " i32"} i32)))'
        functions += f"""
      (func (export "{name}") (param{places * " i32"}) (result i32){_decoding(params)}
        (call ${name}{"".join(f" (local.get {place})" for place in range(places))} (i32.const {RESULT}))
        {"(call $encode-output)" if name == INVOKE else ""}
        (i32.const {RESULT}))"""
    return f"""(core module $Main
      (import "memory" "decode" (func $decode (param i32 i32) (result i32)))
      (import "memory" "encode-output" (func $encode-output)){imports}{functions})"""


def _decoding(params: list[str]) -> str:
    """Of each string behind a u32, which are the bytes."""
    text, place = "", 0
    for param in params:
        if param == "u32":
            at, size = place + 1, place + 2
            text += f"\n        (local.set {size} (call $decode (local.get {at}) (local.get {size})))"
        place += 1 if param == "u32" else 2
    return text
