# SPDX-License-Identifier: Apache-2.0
"""``python -m hearth`` is the command ``hearth``."""

from hearth.cli.main import main

if __name__ == "__main__":
    main()
