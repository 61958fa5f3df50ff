# SPDX-License-Identifier: Apache-2.0
"""Takes the census of one file a task: input its path, output an Answer in JSON. Run: see client.py."""

import os
from pathlib import Path

import msgspec
from census import Answer, census_of

import flamepy


class CensusTaker(flamepy.FlameService):
    """A file that does not parse is an answer too; one that cannot be read fails its task, and only that."""

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes:
        """Count one file."""
        path = Path(os.fsdecode(context.input or b""))
        return msgspec.json.encode(Answer(os.getpid(), census_of(path)))


if __name__ == "__main__":
    flamepy.run(CensusTaker())
