# SPDX-License-Identifier: Apache-2.0
"""The interface of a provider: capacity, launch, stop, exited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flamepy.core.types import ApplicationAttributes, Shim
    from hearth.engine.model import Resources

__all__ = ["ExitListener", "Launch", "Provider"]


@dataclass(frozen=True, slots=True)
class Launch:
    """What a provider needs to start one executor."""

    executor_id: str
    session_id: str
    application: str
    attributes: ApplicationAttributes
    resources: Resources


class ExitListener(Protocol):
    """Told once for each launched executor, when it has ended or could not be started."""

    def __call__(self, executor_id: str, how: str) -> None:
        """`how` completes the sentence "the process …": status and last lines of stderr."""


class Provider(Protocol):
    """A place that runs executors. All calls come from the daemon's loop and return at once.

    Set on_exit before the first launch.
    """

    capacity: Resources
    shims: frozenset[Shim]
    on_exit: ExitListener

    def launch(self, launch: Launch) -> None:
        """Start one; never raises for what the application did wrong, the exit listener is told."""

    def adopt(self, executor_id: str, session_id: str, pid: int) -> bool:
        """Watch over an executor that an earlier daemon has launched; False if it has ended."""

    def stop(self, executor_id: str, grace_s: float = 0.0) -> None:
        """End one, after grace_s if it has not ended by then. Unknown ids are ignored."""

    def pid_of(self, executor_id: str) -> int | None:
        """The process on this machine, if it is one."""

    async def close(self) -> None:
        """End all of them and give back what they used."""
