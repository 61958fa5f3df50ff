# SPDX-License-Identifier: Apache-2.0
"""A service that does what it is told: each task is a JSON list of a verb and its arguments.

A session's common data may be such a list too; it is acted on entering. `tests.conftest.act` writes them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import flamepy


class Actor(flamepy.FlameService):
    def __init__(self) -> None:
        self.enters = self.leaves = self.tasks = 0
        self.leave_file: Path | None = None
        self.leave_gate: str | None = None
        self.session: flamepy.SessionContext
        self.task: flamepy.TaskContext

    def on_session_enter(self, context: flamepy.SessionContext) -> None:
        self.session = context
        self.enters += 1
        data = context.common_data()
        if data and data.startswith(b"["):
            self.act(data)

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes | None:
        self.task = context
        self.tasks += 1
        return self.act(context.input or b"")

    def on_session_leave(self) -> None:
        self.leaves += 1
        if self.leave_file is not None:
            self.leave_file.write_text(f"{self.session.session_id} {self.tasks}")
        if self.leave_gate is not None:
            self.do_wait(self.leave_gate)

    def act(self, data: bytes) -> bytes | None:
        if not data.startswith(b"["):
            return data
        verb, *arguments = json.loads(data)
        output: bytes | None = getattr(self, f"do_{verb}")(*arguments)
        return output

    # -- verbs

    def do_return(self, what: str | None) -> bytes | None:
        return None if what is None else what.encode()

    def do_return_text(self) -> Any:
        return "text"

    def do_nothing(self) -> None:
        """No output at all."""

    def do_pid(self) -> bytes:
        return str(os.getpid()).encode()

    def do_fill(self, size: int) -> bytes:
        return b"x" * size

    def do_report(self) -> bytes:
        """Everything that the service knows."""
        application, data = self.session.application, self.session.common_data()
        return json.dumps(
            {
                "tasks": self.tasks,
                "enters": self.enters,
                "leaves": self.leaves,
                "pid": os.getpid(),
                "task_id": self.task.task_id,
                "task_session_id": self.task.session_id,
                "session_id": self.session.session_id,
                "common_data": None if data is None else data.decode(),
                "application": vars(application),
                "folder": os.getcwd(),
                "environment": dict(os.environ),
            }
        ).encode()

    def do_fail(self, text: str) -> bytes:
        raise ValueError(text)

    def do_exit(self, status: int) -> None:
        print(f"leaving with {status}", file=sys.stderr)
        sys.exit(status)

    def do_vanish(self, status: int) -> None:
        os._exit(status)

    def do_die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_sleep(self, seconds: float) -> None:
        """Be busy for so long."""
        time.sleep(seconds)

    def do_wait(self, gate: str) -> bytes:
        """Tell that we are here, then wait until the gate is open."""
        Path(f"{gate}.reached").write_text(str(os.getpid()))
        while not os.path.exists(f"{gate}.open"):
            time.sleep(0.002)
        return b"through"

    def do_note(self, file: str, text: str) -> bytes:
        """Append a line, in one write."""
        with open(file, "ab", buffering=0) as notes:
            notes.write(f"{text}\n".encode())
        return text.encode()

    def do_print(self, stdout: str, stderr: str = "") -> None:
        """Print, the way programs do: neither flushes."""
        print(stdout)
        print(stderr, end="", file=sys.stderr)

    def do_print_and_exit(self, text: str, status: int) -> None:
        print(text)
        os._exit(status)

    def do_leave_file(self, file: str) -> None:
        """Write there on leaving the session."""
        self.leave_file = Path(file)

    def do_leave_at(self, gate: str) -> None:
        """Wait there on leaving the session."""
        self.leave_gate = gate

    def do_ask_flmping(self) -> bytes | None:
        """Be a client of the same instance, with nothing configured but what an executor finds."""
        session = flamepy.create_session("flmping", resreq=flamepy.ResourceRequirement())
        try:
            return session.invoke(b"from within")
        finally:
            session.close()


if __name__ == "__main__":
    flamepy.run(Actor())
