# SPDX-License-Identifier: Apache-2.0
"""From the SDK's data types to the wire's structs, checked: what `convert` does, the other way."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import msgspec

from flamepy.core.types import ApplicationAttributes, FlameError, FlameErrorCode, SessionAttributes, short_name
from flamepy.protocol import (
    MAX_COMMON_DATA_BYTES,
    MAX_COUNT,
    MAX_TASK_DATA_BYTES,
    CloseMode,
    CloseSession,
    CreateSession,
    RegisterApplication,
    SessionSpec,
    TaskOptions,
    TaskRef,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flamepy.protocol import ApplicationInfo

__all__ = [
    "check_input",
    "check_registered",
    "closing_of",
    "creation_of",
    "encode_request",
    "opening_of",
    "options_of",
    "registration_of",
    "task_ref",
    "watch_timeout_of",
]


def encode_request(topic: str, request: msgspec.Struct) -> bytes:
    """A control request as JSON, with the closing NUL. What the caller has put into it may be anything.

    Raises FlameError INVALID_ARGUMENT for a value of another type than the request has. JSON by itself would make a
    text of bytes, and nothing of a number that is none; both would then mean something else.
    """
    try:
        checked = msgspec.convert(msgspec.to_builtins(request, builtin_types=(bytes,)), type(request))
        return msgspec.json.encode(checked) + b"\0"
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"{topic}: {error}") from None
    except UnicodeEncodeError as error:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"{error.object!r} is no UTF-8 text") from error


def registration_of(name: str, attributes: ApplicationAttributes | Mapping[str, Any]) -> RegisterApplication:
    """The request to register an application. Raises TypeError for a mapping with an unknown key."""
    if not isinstance(attributes, ApplicationAttributes):
        attributes = ApplicationAttributes(**attributes)
    return RegisterApplication(name, attributes)


def check_registered(request: RegisterApplication, there: ApplicationInfo) -> None:
    """Raise FlameError ALREADY_EXISTS if what is registered cannot have come from this request."""
    if there.attributes != request.attributes:
        raise FlameError(
            FlameErrorCode.ALREADY_EXISTS, f"application {request.name!r} was registered by somebody else meanwhile"
        )


def creation_of(attrs: SessionAttributes) -> CreateSession:
    """The request to make a session; without an id it gets one."""
    _check_attributes(attrs)
    session_id = attrs.id if attrs.id is not None else short_name(attrs.application)
    return CreateSession(session_id, _spec_of(attrs))


def opening_of(session_id: str, spec: SessionAttributes | None) -> CreateSession:
    """The request to open a session, or to make it if there is a spec."""
    if spec is None:
        return CreateSession(session_id)
    _check_attributes(spec)
    return CreateSession(session_id, _spec_of(spec))


def _check_attributes(attrs: SessionAttributes) -> None:
    if not isinstance(attrs, SessionAttributes):
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT, f"a session is made of SessionAttributes, got {type(attrs).__name__}"
        )


def _spec_of(attrs: SessionAttributes) -> SessionSpec:
    if attrs.common_data is not None and not isinstance(attrs.common_data, bytes):
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT, f"common_data must be bytes, got {type(attrs.common_data).__name__}"
        )
    if len(attrs.common_data or b"") > MAX_COMMON_DATA_BYTES:
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT,
            f"common_data has {len(attrs.common_data or b'')} bytes, at most {MAX_COMMON_DATA_BYTES} travel",
        )
    if isinstance(attrs.timeout, float) and not math.isfinite(attrs.timeout):  # JSON has no word for it
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"timeout is {attrs.timeout}, want seconds, more than 0")
    return SessionSpec(
        application=attrs.application,
        common_data=attrs.common_data,
        min_instances=attrs.min_instances,
        max_instances=attrs.max_instances,
        batch_size=attrs.batch_size,
        resreq=attrs.resreq,
        priority=attrs.priority,
        timeout_s=attrs.timeout,
        max_retries=attrs.max_retries,
    )


def closing_of(session_id: str, *, drain: bool, force: bool) -> CloseSession:
    """The request to close a session. Raises FlameError INVALID_ARGUMENT for both ways at once."""
    if drain and force:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, "close with drain or with force, not with both")
    return CloseSession(session_id, CloseMode.DRAIN if drain else CloseMode.FORCE if force else CloseMode.PLAIN)


def check_input(input_data: bytes) -> bytes:
    """A task's input as it is. Raises FlameError INVALID_ARGUMENT for what is no bytes, or too many of them."""
    if not isinstance(input_data, bytes):
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT, f"a task's input must be bytes, got {type(input_data).__name__}"
        )
    if len(input_data) > MAX_TASK_DATA_BYTES:
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT,
            f"a task's input has {len(input_data)} bytes, at most {MAX_TASK_DATA_BYTES} travel",
        )
    return input_data


def options_of(timeout: float | None, max_retries: int | None) -> TaskOptions | None:
    """What one task has instead of what its session says, if anything. Raises FlameError INVALID_ARGUMENT."""
    if timeout is None and max_retries is None:
        return None
    if timeout is not None and not (_is_number(timeout) and 0 < timeout <= MAX_COUNT):
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT, f"timeout is {timeout!r}, want seconds, more than 0, at most {MAX_COUNT}"
        )
    if max_retries is not None and not (
        isinstance(max_retries, int) and _is_number(max_retries) and 0 <= max_retries <= MAX_COUNT
    ):
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"max_retries is {max_retries!r}, want 0 to {MAX_COUNT}")
    return TaskOptions(timeout, max_retries)


def watch_timeout_of(timeout: float | None) -> float | None:
    """The seconds that a task is watched; None without end. Raises FlameError INVALID_ARGUMENT for no such number."""
    if timeout is None:
        return None
    if not (_is_number(timeout) and timeout >= 0):
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"timeout is {timeout!r}, want seconds, 0 or more")
    return timeout if timeout <= MAX_COUNT else None


def _is_number(value: object) -> bool:
    """True is none: it is an int by accident, and the instance would not take it for one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def task_ref(session_id: str, task_id: str) -> TaskRef:
    """A task by the id that people use. Raises FlameError INVALID_ARGUMENT for no number."""
    try:
        if not isinstance(task_id, bool):
            return TaskRef(session_id, int(task_id) if isinstance(task_id, str) else operator.index(task_id))
    except (ValueError, TypeError):
        pass
    raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"task id {task_id!r} is not a number; ids are '1', '2', …")
