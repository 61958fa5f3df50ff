# SPDX-License-Identifier: Apache-2.0
"""The pricing service: a task is a Draw, the answer its Sums. Started by an instance, see price.py."""

import msgspec
from asian import Draw, simulate

import flamepy


class Pricing(flamepy.FlameService):
    """Draws paths."""

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes:
        """Simulate one Draw."""
        return msgspec.json.encode(simulate(msgspec.json.decode(context.input or b"", type=Draw)))


if __name__ == "__main__":
    flamepy.run(Pricing())
