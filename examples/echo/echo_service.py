# SPDX-License-Identifier: Apache-2.0
"""The smallest service: answers each task with its input. Started by an instance, see echo.py."""

import flamepy


class Echo(flamepy.FlameService):
    """Says what it hears."""

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes | None:
        """Give the input back."""
        return context.input


if __name__ == "__main__":
    flamepy.run(Echo())
