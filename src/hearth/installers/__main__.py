# SPDX-License-Identifier: Apache-2.0
"""The installing process: a Request as JSON on stdin, a Result as JSON on stdout, its argument the cache's folder."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec

from hearth.installers.cache import InstallCache
from hearth.installers.failure import InstallFailed
from hearth.installers.install import install
from hearth.installers.installation import Request, Result


def main() -> None:
    """Install, and say what became of it. What it logs is on stderr."""
    logging.basicConfig(format="%(message)s")
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    try:
        key, installation = install(request, InstallCache(Path(sys.argv[1])))
        result = Result(None, key, installation)
    except InstallFailed as error:
        result = Result(str(error))
    except OSError as error:
        what = f": {error.filename}" if error.filename else ""
        result = Result(f"{error.strerror or error}{what}")
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
