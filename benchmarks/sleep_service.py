# SPDX-License-Identifier: Apache-2.0
"""A task that sleeps as many milliseconds as its input says. Started by an instance for fair_shares.py."""

import time

import flamepy


class Sleep(flamepy.FlameService):
    """Holds its executor, and nothing else."""

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes | None:
        """Sleep."""
        time.sleep(int(context.input or b"0") / 1000)
        return None


if __name__ == "__main__":
    flamepy.run(Sleep())
