# SPDX-License-Identifier: Apache-2.0
"""The smallest program: a service of your own, ten tasks, ten answers. Run: python examples/echo/echo.py."""

import sys
from pathlib import Path

import flamepy

service = Path(__file__).with_name("echo_service.py").resolve()
flamepy.register_application("echo", {"command": sys.executable, "arguments": [str(service)]})
session = flamepy.create_session("echo")

futures = [session.run(f"hello {number}".encode()) for number in range(10)]
for future in futures:
    print(future.result())

session.close()
flamepy.unregister_application("echo")
