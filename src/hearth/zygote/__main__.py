# SPDX-License-Identifier: Apache-2.0
"""The process of the fork server, run by its path: arguments are the descriptor of the stream, and module paths."""

from __future__ import annotations

import sys

__all__ = ()


def main() -> None:
    """Load, serve, and in each child become a program, which then ends as a program of its own does."""
    if not getattr(sys.flags, "safe_path", False):  # from Python 3.11 on
        del sys.path[0]  # our own folder
    plain_path = list(sys.path)
    sys.path[:0] = sys.argv[2:]
    # Found only now, on the daemon's module path.
    from hearth.zygote.preloaded import preload
    from hearth.zygote.program import become
    from hearth.zygote.server import serve

    preloaded = preload(plain_path)
    sys.path[:] = plain_path
    become(*serve(int(sys.argv[1])), preloaded)


if __name__ == "__main__":
    main()
