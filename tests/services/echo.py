# SPDX-License-Identifier: Apache-2.0
"""A service that echoes JSON and tells what it knows; `tests.compat.echo` asks it.

A session's common data is a reference to an object that holds JSON bytes: ``{"value": …}``, and with
"fail_enter" or "fail_tasks" the text of the exception to raise.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import flamepy


class Echo(flamepy.FlameService):
    def __init__(self) -> None:
        self.enters = self.leaves = self.tasks = 0
        self.common: dict[str, Any] = {}
        self.session: flamepy.SessionContext

    def on_session_enter(self, context: flamepy.SessionContext) -> None:
        self.enters += 1
        self.session = context
        data = context.common_data()
        if data is not None:
            self.common = json.loads(flamepy.get_object(flamepy.ObjectRef.decode(data)))
        if "fail_enter" in self.common:
            raise RuntimeError(self.common["fail_enter"])

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes:
        self.tasks += 1
        if "fail_tasks" in self.common:
            raise ValueError(self.common["fail_tasks"])
        asked = json.loads(context.input or b"{}")
        if "fail" in asked:
            raise ValueError(asked["fail"])
        time.sleep(asked.get("sleep_s", 0))
        answer = {
            "output": asked.get("output", asked.get("input")),
            "common": asked["input"] if asked.get("replace_common") else self.common.get("value"),
            "tasks": self.tasks,
            "enters": self.enters,
            "leaves": self.leaves,
        }
        for what in asked.get("contexts", ()):
            answer[what] = getattr(self, f"tell_{what}")(context)
        return json.dumps(answer).encode()

    def on_session_leave(self) -> None:
        self.leaves += 1

    def tell_task(self, context: flamepy.TaskContext) -> dict[str, Any]:
        return {"task_id": context.task_id, "session_id": context.session_id, "has_input": context.input is not None}

    def tell_session(self, context: flamepy.TaskContext) -> dict[str, Any]:
        return {
            "session_id": self.session.session_id,
            "has_common_data": self.session.common_data() is not None,
            "application": self.session.application.name,
        }

    def tell_application(self, context: flamepy.TaskContext) -> dict[str, Any]:
        return dataclasses.asdict(self.session.application)


if __name__ == "__main__":
    flamepy.run(Echo())
