# SPDX-License-Identifier: Apache-2.0
"""What instances have printed, as `hearth session logs` and `hearth task logs` show it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hearth.cli.output import json_bytes, one_line, print_json_list, time_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flamepy.core.types import InstanceLog

__all__ = ["print_logs"]


def print_logs(logs: Sequence[InstanceLog], *, as_json: bool) -> None:
    """Each stream that has something below a line that says whose it is; or a JSON list, one instance a line."""
    if as_json:
        print_json_list(map(_json_of, logs))
        return
    lines = [line for log in logs for line in _lines_of(log)]
    if not lines:
        click.echo("Nothing was printed, or it is no longer kept.", err=True)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _lines_of(log: InstanceLog) -> Iterator[str]:
    until = "running" if log.is_running else f"ended {time_text(log.completion_time)}"
    for name, data in (("stdout", log.stdout), ("stderr", log.stderr)):
        if data:
            yield f"==> {log.executor} {name}, started {time_text(log.creation_time)}, {until} <=="
            for line in data.decode("utf-8", "replace").splitlines():
                yield one_line(line.expandtabs())


def _json_of(log: InstanceLog) -> dict[str, object]:
    return {
        "executor": log.executor,
        "stdout": json_bytes(log.stdout),
        "stderr": json_bytes(log.stderr),
        "is_running": log.is_running,
        "is_truncated": log.is_truncated,
        "creation_time": log.creation_time,
        "completion_time": log.completion_time,
    }
