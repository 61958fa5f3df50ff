# SPDX-License-Identifier: Apache-2.0
"""What has changed since the store was last told: noted by the batch, since tasks change by the batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hearth.engine.model import Application, Session, Task

__all__ = ["Changes"]


@dataclass(slots=True)
class Changes:
    """To be written together, or not at all. A thing that changes twice may stand here twice."""

    applications: dict[str, Application | None] = field(default_factory=dict)
    """By name; None: it is gone."""
    sessions: dict[str, Session] = field(default_factory=dict)
    """By id: those that are new or whose record differs."""
    gone: list[Session] = field(default_factory=list)
    """Sessions whose record and tasks are to go."""
    created: list[tuple[Session, list[Task]]] = field(default_factory=list)
    """New tasks. The lists must not be changed afterwards, here and below."""
    tasks: list[tuple[Session, list[Task]]] = field(default_factory=list)
    """Tasks that have ended, or have something else to remember."""

    def __bool__(self) -> bool:
        return bool(self.created or self.tasks or self.sessions or self.applications or self.gone)
