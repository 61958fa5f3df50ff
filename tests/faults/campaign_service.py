"""The service of the campaign: notes each execution in a file, then gives the one right answer."""

from __future__ import annotations

import os
import time

import flamepy
from tests.faults.workload import answer_to, name_of, pause_of


class Worker(flamepy.FlameService):
    def __init__(self) -> None:
        self.notes = os.open(os.environ["CAMPAIGN_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes:
        assert context.input is not None
        os.write(self.notes, f"{name_of(context.input)} {context.session_id} {context.task_id}\n".encode())
        time.sleep(pause_of(context.input))
        return answer_to(context.input)


if __name__ == "__main__":
    flamepy.run(Worker())
