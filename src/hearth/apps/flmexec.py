# SPDX-License-Identifier: Apache-2.0
"""The built-in application `flmexec`: each task is a script, its output what the script prints.

Input: a JSON object with "language" (python or shell) and "code"; optional "runtime", "input" (a list of
bytes for stdin), "check" and "timeout" in seconds. Output: a JSON object with "data" (stdout as a list of
bytes), "exit_code", "stderr" (its end, as text) and "runtime" (what ran it).
"""

from __future__ import annotations

import msgspec

import flamepy
from hearth.apps.script import Script, run_script

__all__ = ["Exec"]


class _Asked(msgspec.Struct):
    language: str
    code: str
    runtime: str | None = None
    input: list[int] | None = None
    check: bool = True
    """Whether a script that fails fails the task."""
    timeout: float | None = None


class Exec(flamepy.FlameService):
    """Runs scripts, each in a fresh folder and a process group of its own."""

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes:
        """Run the script. Raises ValueError for a request that is none, RuntimeError or TimeoutError if it fails."""
        asked = _read(context.input)
        ran = run_script(Script(asked.language, asked.code, asked.runtime, _bytes_of(asked.input), asked.timeout))
        if asked.check and ran.exit_code:
            raise RuntimeError(ran.complaint)
        answer = {
            "data": list(ran.stdout),
            "exit_code": ran.exit_code,
            "stderr": ran.stderr,
            "runtime": ran.runtime,
        }
        return msgspec.json.encode(answer)


def _read(data: bytes | None) -> _Asked:
    try:
        return msgspec.json.decode(data or b"", type=_Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f'a task of flmexec is JSON, {{"language": "python" or "shell", "code": text}}: {error}'
        ) from None


def _bytes_of(numbers: list[int] | None) -> bytes | None:
    try:
        return None if numbers is None else bytes(numbers)
    except ValueError:
        raise ValueError("input is a list of bytes: numbers from 0 to 255") from None


if __name__ == "__main__":
    flamepy.run(Exec())
