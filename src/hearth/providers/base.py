# SPDX-License-Identifier: Apache-2.0
"""The interface of a provider: capacity, launch, stop, exited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flamepy.core.types import ApplicationAttributes, Shim
    from hearth.engine.model import Resources

__all__ = ["INSTALLATION_FAILED", "ExitListener", "Launch", "Provider", "StartListener"]

INSTALLATION_FAILED = 10
"""The return code of an executor whose application could not be installed."""


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

    def __call__(self, executor_id: str, how: str, return_code: int | None = None) -> None:
        """`how` completes the sentence "the process …": status and last lines of stderr.

        return_code: when the provider knows better than the engine why there is no process; then `how` is why.
        """


class StartListener(Protocol):
    """Told once for each executor whose process has been started."""

    def __call__(self, executor_id: str) -> None:
        """From now on it may be expected to call in."""


class Provider(Protocol):
    """A place that runs executors. All calls come from the daemon's loop and return at once.

    Set on_start and on_exit before the first launch. Neither is told from within a call.
    """

    capacity: Resources
    shims: frozenset[Shim]
    on_start: StartListener
    on_exit: ExitListener

    def launch(self, launch: Launch) -> None:
        """Install its application if that has not been done, then start one.

        Never raises for what the application did wrong, the exit listener is told.
        """

    def adopt(self, executor_id: str, session_id: str, pid: int) -> bool:
        """Watch over an executor that an earlier daemon has launched; False if it has ended."""

    def stop(self, executor_id: str, grace_s: float = 0.0) -> None:
        """End one, after grace_s if it has not ended by then. Unknown ids are ignored."""

    def pid_of(self, executor_id: str) -> int | None:
        """The process on this machine, if it is one."""

    async def close(self) -> None:
        """End all of them and give back what they used."""
