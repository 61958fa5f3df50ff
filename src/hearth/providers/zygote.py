# SPDX-License-Identifier: Apache-2.0
"""The daemon's end of the fork server: it is kept running, asked for children, and done without when it fails."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
from typing import TYPE_CHECKING

from hearth.providers.child import Child, ProcessSpec, could_not_start, describe
from hearth.providers.python_command import interpreter_of
from hearth.providers.zygote_link import ZygoteLink
from hearth.zygote.messages import Answer, Ended, Fork, Forked, Wait
from hearth.zygote.process import ZygoteProcess, start_zygote

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Zygote"]

log = logging.getLogger(__name__)

_PAUSE_S = 0.1  # before it is started again, doubled each time that it has died before it had loaded
_DOUBLED_MAX = 9  # that is some 50 s


class Zygote:
    """One fork server at a time, started again when it dies. Without one, programs are executed plainly."""

    def __init__(self, started: ZygoteProcess) -> None:
        self._loop = asyncio.get_running_loop()
        self._link: ZygoteLink | None = ZygoteLink(started, self._loaded, self._lost)
        self._failures = 0
        self._restart: asyncio.TimerHandle | None = None

    def start(self, spec: ProcessSpec, on_ended: Callable[[str], None]) -> Child:
        """Start a process: forked where that comes out the same, else executed. Raises OSError as Child does."""
        link = self._link
        if link is not None:
            interpreter = interpreter_of(spec.command, spec.environment, link.environment)
            if interpreter is not None:
                return _ForkedChild(spec, on_ended, link, interpreter)
        return Child(spec, on_ended)

    def close(self) -> None:
        """End the server. Children must have ended before, for their status to be known."""
        if self._restart is not None:
            self._restart.cancel()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _loaded(self) -> None:
        self._failures = 0

    def _lost(self, how: str) -> None:
        self._link = None
        pause_s = _PAUSE_S * 2 ** min(self._failures, _DOUBLED_MAX)
        self._failures += 1
        log.warning("the fork server %s; programs are executed, and in %g s it is started again", how, pause_s)
        self._restart = self._loop.call_later(pause_s, self._start_again)

    def _start_again(self) -> None:
        try:
            self._link = ZygoteLink(start_zygote(), self._loaded, self._lost)
        except OSError as error:
            self._lost(f"could not be started: {error}")


class _ForkedChild(Child):
    """A child of the server; executed after all if the server dies before it has forked it."""

    def __init__(
        self,
        spec: ProcessSpec,
        on_ended: Callable[[str], None],
        link: ZygoteLink,
        interpreter: str,
    ) -> None:
        self._link = link
        self._interpreter = interpreter
        self._is_doomed = False
        super().__init__(spec, on_ended)

    def _start(self, spec: ProcessSpec) -> None:
        _check_folder(spec.folder)
        stdout = os.dup(spec.stdout)
        try:
            stderr = os.dup(spec.stderr)
        except OSError:
            os.close(stdout)
            raise
        self._spec = dataclasses.replace(spec, stdout=stdout, stderr=stderr)  # ours until there is an answer
        request = Fork(
            os.fsencode(self._interpreter),
            list(map(os.fsencode, spec.command)),
            {os.fsencode(name): os.fsencode(value) for name, value in spec.environment.items()},
            os.fsencode(spec.folder),
        )
        self._link.ask(request, self._answered, (stdout, stderr))

    def kill(self) -> None:
        """End it now; if it is only about to start, as soon as it has."""
        self._is_doomed = True
        super().kill()

    def _answered(self, answer: Answer | None) -> None:
        try:
            failure = self._begin(answer)
        finally:
            os.close(self._spec.stdout)
            os.close(self._spec.stderr)
        if failure is not None:
            self._tell(failure)

    def _begin(self, answer: Answer | None) -> str | None:
        """Have it run, one way or the other; returns why it does not."""
        try:
            if isinstance(answer, Forked):
                self._adopt(answer.pid)
            elif self._is_doomed:
                return "was stopped before it had started"
            else:
                log.info("executor %s is executed: %s", self._name, answer or "the fork server has died")
                self._execute(self._spec)
        except OSError as error:
            return could_not_start(error)
        return None

    def _adopt(self, pid: int) -> None:
        try:
            self._watch(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            self._link.ask(Wait(pid), lambda answer: None)
            raise
        log.info("executor %s started: pid %d, %s, forked", self._name, pid, self._spec.command)
        if self._is_doomed:
            self.kill()

    def _reap(self, pid: int) -> None:
        if self._popen is not None:
            super()._reap(pid)
        else:
            self._link.ask(Wait(pid), self._reaped)

    def _reaped(self, answer: Answer | None) -> None:
        if isinstance(answer, Ended):
            self._tell(describe(answer.status))
        else:
            self._tell("ended; how is not known, as the fork server had died")


def _check_folder(folder: str) -> None:
    """Raises OSError, as executing something there would, while there is someone to tell."""
    try:
        os.stat(os.path.join(folder, os.curdir))
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from None
