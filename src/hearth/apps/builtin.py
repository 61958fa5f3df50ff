# SPDX-License-Identifier: Apache-2.0
"""The applications that every instance has from its start."""

from __future__ import annotations

import json
import sys

from flamepy.core.types import ApplicationAttributes, ApplicationSchema, Shim

__all__ = ["builtin_applications"]

_SCRIPT_REQUEST = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["language", "code"],
    "properties": {
        "language": {"type": "string", "enum": ["python", "shell"]},
        "code": {"type": "string", "description": "The script itself"},
        "runtime": {
            "type": ["string", "null"],
            "description": "A version of Python such as 3.12, or a shell such as bash or /bin/zsh",
        },
        "input": {
            "type": ["array", "null"],
            "items": {"type": "integer", "minimum": 0, "maximum": 255},
            "description": "The bytes of its stdin, which is empty without it",
        },
        "check": {"type": "boolean", "description": "Whether a script that fails fails the task; true if not said"},
        "timeout": {"type": ["number", "null"], "description": "Seconds after which it is killed"},
    },
}
_SCRIPT_ANSWER = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "string",
    "description": 'JSON: {"data": bytes of stdout, "exit_code": number, "stderr": its end, "runtime": what ran it}',
}


def builtin_applications() -> dict[str, ApplicationAttributes]:
    """Their attributes, by name. All run with the daemon's own interpreter."""
    return {
        "flmping": _module("hearth.apps.flmping", "Answers at once, or after the asked time"),
        "flmexec": _module(
            "hearth.apps.flmexec",
            "Runs a script of Python or of a shell, and answers with what it prints",
            schema=ApplicationSchema(input=json.dumps(_SCRIPT_REQUEST), output=json.dumps(_SCRIPT_ANSWER)),
        ),
        "flmrun": _module("flamepy.runner.runpy", "Runs the functions and objects of a Runner", installer="python"),
    }


def _module(
    module: str, description: str, *, schema: ApplicationSchema | None = None, installer: str | None = None
) -> ApplicationAttributes:
    return ApplicationAttributes(
        shim=Shim.HOST,
        description=description,
        command=sys.executable,
        arguments=["-m", module],
        schema=schema,
        installer=installer,
    )
