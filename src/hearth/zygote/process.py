# SPDX-License-Identifier: Apache-2.0
"""Starting the fork server's process.

Imports nothing but the standard library, so that a daemon can start it before its own imports: the two then
load side by side.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ZygoteProcess", "start_zygote"]

_MAIN = Path(__file__).with_name("__main__.py")


@dataclass(frozen=True, slots=True)
class ZygoteProcess:
    """A fork server that has been started. Who holds it ends it, and closes output.

    stream carries hearth.zygote.messages; at its end the process ends. output is the read end of a pipe, its stdout
    and stderr. environment is what it was started with.
    """

    popen: subprocess.Popen[bytes]
    stream: socket.socket
    output: int
    environment: dict[str, str]

    def end(self) -> None:
        """End it now and wait for it; it has nothing to clean up."""
        self.stream.close()
        self.popen.kill()
        self.popen.wait()


def start_zygote() -> ZygoteProcess:
    """Start one; it may be sent requests at once, and answers when it has loaded. Raises OSError."""
    environment = dict(os.environ)
    search = environment.pop("PYTHONPATH", "")
    roots = [os.path.abspath(entry) for entry in search.split(os.pathsep)] if search else []
    environment.setdefault("PYTHONUNBUFFERED", "1")
    ours, theirs = socket.socketpair()
    output, write_end = os.pipe()
    try:
        with theirs:
            popen = subprocess.Popen(
                # -m would need the module path, which children are to find as if this process had none.
                [sys.executable, str(_MAIN), str(theirs.fileno()), *roots, str(_MAIN.parents[2])],
                env=environment,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=write_end,  # pipes, as children have them: Python looks at what they are when it starts
                stderr=write_end,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the daemon's terminal is not for it
            )
    except OSError:
        ours.close()
        os.close(output)
        raise
    finally:
        os.close(write_end)
    return ZygoteProcess(popen, ours, output, environment)
