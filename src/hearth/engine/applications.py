# SPDX-License-Identifier: Apache-2.0
"""The table of registered applications and what may be registered."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from flamepy.core.types import ApplicationAttributes, ApplicationSchema, FlameError, FlameErrorCode
from flamepy.protocol import MAX_COUNT
from hearth.engine.model import Application
from hearth.engine.schemas import problem_of_schema

if TYPE_CHECKING:
    from hearth.engine.state import State

__all__ = ["Applications", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")


class Applications:
    """Applications by name. Pure."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._applications: dict[str, Application] = {}

    def __len__(self) -> int:
        return len(self._applications)

    def register(self, name: str, attributes: ApplicationAttributes, now: float) -> None:
        """Raises FlameError INVALID_ARGUMENT for a name or attribute out of bounds, ALREADY_EXISTS."""
        check_name(name)
        _check_attributes(name, attributes)
        if name in self._applications:
            raise FlameError(
                FlameErrorCode.ALREADY_EXISTS, f"application {name!r} is already registered; unregister it first"
            )
        self.add(Application(name, attributes, now))

    def add(self, application: Application) -> None:
        """Have it, whatever was there under its name."""
        self._applications[application.name] = application
        self._state.note_application(application)

    def update(self, name: str, attributes: ApplicationAttributes) -> None:
        """Replace the attributes. Raises FlameError NOT_FOUND, INVALID_ARGUMENT for one out of bounds."""
        application = self.get(name)
        _check_attributes(name, attributes)
        application.attributes = attributes
        self.add(application)

    def remove(self, name: str) -> None:
        """Raises FlameError NOT_FOUND."""
        self.get(name)
        del self._applications[name]
        self._state.note_removed_application(name)

    def get(self, name: str) -> Application:
        """Raises FlameError NOT_FOUND."""
        application = self.try_get(name)
        if application is None:
            raise FlameError(
                FlameErrorCode.NOT_FOUND, f"application {name!r} not found; list them with: hearth app list"
            )
        return application

    def try_get(self, name: str) -> Application | None:
        """The application of that name, if there is one."""
        return self._applications.get(name)

    def all(self) -> list[Application]:
        """Every application, by name."""
        return sorted(self._applications.values(), key=lambda application: application.name)


def _refuse(text: str) -> FlameError:
    return FlameError(FlameErrorCode.INVALID_ARGUMENT, text)


def check_name(name: str) -> None:
    """Raises FlameError INVALID_ARGUMENT for what cannot be the name of an application."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise _refuse(
            f"application name {name[:300]!r} is not allowed: 1 to 253 of A-Z a-z 0-9 . _ -,"
            " not starting with . or -, without .."
        )


def _check_attributes(name: str, attributes: ApplicationAttributes) -> None:
    folder = attributes.working_directory
    if folder and not os.path.isabs(folder):
        raise _refuse(f"application {name!r}: working_directory {folder!r} is not an absolute path")
    for what, number in (("max_instances", attributes.max_instances), ("delay_release", attributes.delay_release)):
        if number is not None and not 0 <= number <= MAX_COUNT:
            raise _refuse(f"application {name!r}: {what} is {number}, want 0 to {MAX_COUNT}")
    _check_process(name, attributes)
    _check_schema(name, attributes.schema or ApplicationSchema())


def _check_process(name: str, attributes: ApplicationAttributes) -> None:
    """What becomes of it is a process's: the system takes no NUL in it, and no variable of any name."""
    environments = attributes.environments or {}
    texts = {
        "command": [attributes.command],
        "arguments": attributes.arguments,
        "environments": [*environments, *environments.values()],
        "working_directory": [attributes.working_directory],
        "url": [attributes.url],
        "installer": [attributes.installer],
    }
    for what, said in texts.items():
        if any("\0" in text for text in said or () if text is not None):
            raise _refuse(f"application {name!r}: {what} has a NUL in it, which no process can be given")
    for variable in environments:
        if not variable or "=" in variable:
            raise _refuse(
                f"application {name!r}: environments has {variable!r}, want names that are not empty, without ="
            )


def _check_schema(name: str, schema: ApplicationSchema) -> None:
    for what in ("input", "output", "common_data"):
        text = getattr(schema, what)
        problem = problem_of_schema(text) if text else None
        if problem is not None:
            raise _refuse(f"application {name!r}: schema.{what} {problem}")
