# SPDX-License-Identifier: Apache-2.0
"""The interface `component:flame/service`, as a component declares it.

Flame has changed the records of its contexts over time, so they are filled by the names of their fields:
a component of any version is told what it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from wasmtime.component import (
    U8,
    ComponentInstanceType,
    EnumType,
    FuncType,
    ListType,
    OptionType,
    RecordType,
    ResultType,
    String,
    ValType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wasmtime import Engine
    from wasmtime.component import Component

    from flamepy.core.service import SessionContext

__all__ = [
    "ENTER",
    "INVOKE",
    "LEAVE",
    "SERVICE",
    "Context",
    "Interface",
    "InterfaceError",
    "context_of",
    "interface_of",
    "is_bytes",
]

SERVICE = "component:flame/service"
ENTER, INVOKE, LEAVE = "on-session-enter", "on-task-invoke", "on-session-leave"

WORKSPACE = "default"
"""Flame's workspaces do not exist here: components that ask are told this one."""

Context: TypeAlias = "Mapping[str, str | bytes | None]"
"""What is known about a session and a task, by the names of fields."""

_TEXTS = ("session", "session-id", "task", "task-id", "workspace", "application")
_COMMON_DATA = "common-data"


class InterfaceError(Exception):
    """The component does not export the interface; the text says what it lacks."""


@dataclass(frozen=True)
class Interface:
    """The three functions of one component."""

    functions: dict[str, FuncType]
    types: dict[str, ValType]
    """The types that the interface exports, by name."""
    fields: dict[str, list[str]]
    """By function: the fields of its context, in their order."""


def context_of(session: SessionContext, task_id: str = "") -> dict[str, str | bytes | None]:
    """What may be asked for; the common data is there outside of tasks only."""
    return {
        "session": session.session_id,
        "session-id": session.session_id,
        "task": task_id,
        "task-id": task_id,
        "workspace": WORKSPACE,
        "application": session.application.name,
        _COMMON_DATA: None if task_id else session.common_data(),
    }


def interface_of(component: Component, engine: Engine) -> Interface:
    """Read from the component's own types. Raises InterfaceError."""
    exports = component.type.exports(engine)
    if SERVICE not in exports or not isinstance(service := exports[SERVICE].ty, ComponentInstanceType):
        raise InterfaceError(f"it does not export the interface {SERVICE}, but {_listed(list(exports))}")
    items = {name: item.ty for name, item in service.exports(engine).items()}
    functions = {name: item for name, item in items.items() if isinstance(item, FuncType)}
    if missing := [name for name in (ENTER, INVOKE, LEAVE) if name not in functions]:
        raise InterfaceError(f"its {SERVICE} has no {_listed(missing)}, only {_listed(list(functions))}")
    return Interface(
        functions={name: functions[name] for name in (ENTER, INVOKE, LEAVE)},
        types={name: item for name, item in items.items() if isinstance(item, ValType)},
        fields={name: _check(name, functions[name]) for name in (ENTER, INVOKE, LEAVE)},
    )


def is_bytes(wanted: ValType | None) -> bool:
    """Whether it is an option<list<u8>>."""
    return (
        isinstance(wanted, OptionType)
        and isinstance(wanted.payload, ListType)
        and isinstance(wanted.payload.element, U8)
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


def _check(name: str, function: FuncType) -> list[str]:
    """The fields of its context; raises InterfaceError if it is not the function that it should be."""
    context, inputs = _context_and_inputs(function)
    data, output = ([True], is_bytes) if name == INVOKE else ([], _is_absent)
    result = function.result
    if (
        not isinstance(context, RecordType)
        or [is_bytes(declared) for declared in inputs] != data
        or not isinstance(result, ResultType)
        or not output(result.ok)
        or not isinstance(result.err, (RecordType, EnumType, String))
    ):
        wanted = ", input: option<list<u8>>) -> result<option<list<u8>>" if data else ") -> result<_"
        raise InterfaceError(f"its {name} is not a func(ctx: record{wanted}, record, enum or string>")
    fields = context.fields
    for field, declared in fields:
        if not (is_bytes(declared) if field == _COMMON_DATA else field in _TEXTS and isinstance(declared, String)):
            raise InterfaceError(
                f"the context of its {name} has a field {field!r}, {type(declared).__name__}, that Hearth does not"
                f" know; it knows {_listed(list(_TEXTS))} (string) and {_COMMON_DATA} (option<list<u8>>)"
            )
    return [field for field, _ in fields]


def _context_and_inputs(function: FuncType) -> tuple[ValType | None, list[ValType]]:
    declared = [declared for _, declared in function.params]
    return (declared[0], declared[1:]) if declared else (None, [])


def _is_absent(declared: ValType | None) -> bool:
    return declared is None
