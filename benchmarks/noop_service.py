# SPDX-License-Identifier: Apache-2.0
"""A task that costs nothing: its output is its input. Started by an instance for tasks_per_second.py."""

import flamepy


class Noop(flamepy.FlameService):
    """Measures everything but the work."""

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes | None:
        """Give the input back."""
        return context.input


if __name__ == "__main__":
    flamepy.run(Noop())
