"""Asking the echo service (`tests/services/echo.py`), the way upstream's tests ask theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import flamepy
from flamepy.util import short_name
from tests.conftest import SERVICES, SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

ECHO = "echo"


def register(name: str = ECHO, **attributes: Any) -> str:
    """A command relative to an absolute folder, an installer, and no URL."""
    flamepy.register_application(
        name,
        flamepy.ApplicationAttributes(
            command="python3",
            arguments=["echo.py"],
            working_directory=str(SERVICES),
            environments={"PYTHONPATH": str(SOURCE)},
            installer="python",
            **attributes,
        ),
    )
    return name


def request(**asked: Any) -> bytes:
    return json.dumps(asked).encode()


def ask(session: flamepy.Session, **asked: Any) -> dict[str, Any]:
    """Run one task and read its answer."""
    answer: dict[str, Any] = json.loads(session.invoke(request(**asked)) or b"")
    return answer


def common_data(**common: Any) -> bytes:
    """A reference to a new object with JSON bytes in it."""
    return flamepy.put_object(f"{ECHO}/{short_name(ECHO)}", json.dumps(common).encode()).encode()


def final_state(updates: Iterator[flamepy.Task]) -> flamepy.TaskState:
    """The state that a watch ends with."""
    *_, last = updates
    return last.state
