# SPDX-License-Identifier: Apache-2.0
"""What a provider starts for an application that is a component: this file, the component, its arguments.

Run by its path rather than with ``-m``: what lies in the working folder, where a component may be allowed
to write, must not be imported.
"""

from __future__ import annotations

import os
import sys

if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    del sys.path[0]

import flamepy
from hearth.wasm.requirement import missing
from hearth.wasm.settings import Settings


def main(command: list[str]) -> None:
    """Serve one session with the component; ends the process with a text when that cannot be."""
    if not command:
        raise SystemExit("which component? An instance starts this for applications with shim WASM")
    if problem := missing():
        raise SystemExit(f"components cannot run: {problem}")
    from hearth.wasm.service import WasmService

    try:
        settings = Settings.of(os.environ)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    flamepy.run(WasmService(command, settings))


if __name__ == "__main__":
    main(sys.argv[1:])
