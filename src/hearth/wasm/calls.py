# SPDX-License-Identifier: Apache-2.0
"""Calling the functions of a live component, in either of two ways, and what its errors say."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Protocol

from wasmtime.component import EnumType, Record, RecordType, ResultType

from flamepy.core.service import ServiceFailure
from hearth.wasm.interface import SERVICE

if TYPE_CHECKING:
    from wasmtime import Store
    from wasmtime.component import Func, Instance, ValType

    from hearth.wasm.interface import Context, Interface

__all__ = ["AdapterCalls", "Calls", "ValueCalls"]


class Calls(Protocol):
    """The functions of one instance."""

    def call(self, store: Store, name: str, context: Context, *inputs: bytes | None) -> bytes | None:
        """Raises ServiceFailure if the component returns an error, and WasmtimeError if it trapped and is dead."""


class AdapterCalls:
    """Through the adapter: bytes as base64 in strings, the fields of the context one by one."""

    def __init__(self, interface: Interface, instance: Instance, store: Store) -> None:
        self._fields = interface.fields
        self._errors = {name: _error_type(interface, name) for name in interface.functions}
        self._functions = {name: _found(instance.get_func(store, name)) for name in interface.functions}

    def call(self, store: Store, name: str, context: Context, *inputs: bytes | None) -> bytes | None:
        """As Calls says."""
        params: list[object] = []
        for value in (*(context[field] for field in self._fields[name]), *inputs):
            if isinstance(value, str):
                params.append(value)
            else:
                params += (value is not None, binascii.b2a_base64(value or b"", newline=False).decode("ascii"))
        result = self._functions[name](store, *params)
        if isinstance(result, tuple):
            raise ServiceFailure(_text(result, self._errors[name]))
        return None if result is None else binascii.a2b_base64(result)


class ValueCalls:
    """Value by value, as wasmtime offers it: right for every component, slow for many bytes."""

    def __init__(self, interface: Interface, instance: Instance, store: Store) -> None:
        self._fields = interface.fields
        service = instance.get_export_index(store, SERVICE)
        self._functions = {}
        for name in interface.functions:
            index = instance.get_export_index(store, name, service)
            self._functions[name] = _found(None if index is None else instance.get_func(store, index))

    def call(self, store: Store, name: str, context: Context, *inputs: bytes | None) -> bytes | None:
        """As Calls says."""
        record = Record()
        for field in self._fields[name]:
            setattr(record, field, context[field])
        result = self._functions[name](store, record, *inputs)
        if result is None or isinstance(result, bytes):
            return result
        raise ServiceFailure(_text_of_fields(vars(result)) if isinstance(result, Record) else str(result))


def _found(function: Func | None) -> Func:
    assert function is not None  # the interface has been checked
    return function


def _error_type(interface: Interface, name: str) -> ValType | None:
    result = interface.functions[name].result
    assert isinstance(result, ResultType)
    return result.err


def _text(parts: tuple[Any, ...], declared: ValType | None) -> str:
    """What an error says that came as a tuple without names."""
    if isinstance(declared, RecordType):
        fields = declared.fields
        return _text_of_fields({name: _named(part, field) for part, (name, field) in zip(parts, fields, strict=True)})
    return str(_named(parts[0], declared))


def _named(part: object, declared: ValType | None) -> object:
    return declared.names[part] if isinstance(declared, EnumType) and isinstance(part, int) else part


def _text_of_fields(fields: dict[str, object]) -> str:
    """The message, if there is one; else everything."""
    return str(fields.get("message") or ", ".join(f"{name}: {value}" for name, value in fields.items()))
