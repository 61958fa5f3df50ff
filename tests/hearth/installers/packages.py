# SPDX-License-Identifier: Apache-2.0
"""Packages for the tests, written here, and a server on this machine to fetch them from."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PLAIN = {
    "pyproject.toml": b'[project]\nname = "plain"\nversion = "1.5"\n[project.scripts]\nplain = "plain.main:main"\n',
    "src/plain/__init__.py": b"",
    "src/plain/main.py": b"def main():\n    print('plain runs')\n",
}
"""A project that needs no build."""

BACKEND = b'''
"""A build backend that needs nothing: all of src, in a wheel."""
import pathlib, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "built-2.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.write("src/built.py", "built.py")
        for file, text in {
            "METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 2.0\\n" + DEPENDS,
            "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
            "entry_points.txt": "[console_scripts]\\nbuilt = built:main\\n",
            "RECORD": "",
        }.items():
            wheel.writestr(f"built-2.0.dist-info/{file}", text)
    return name
'''


def built_project(folder: Path) -> dict[str, bytes]:
    """A project with a backend of its own and a dependency, which is a wheel in folder: pip needs no network."""
    wheel = write_wheel(folder, "needed", b"VALUE = 'of the dependency'\n")
    return {
        "pyproject.toml": f'[project]\nname = "built"\nversion = "2.0"\ndependencies = ["needed @ {wheel.as_uri()}"]\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'.encode(),
        "backend.py": f"DEPENDS = 'Requires-Dist: needed @ {wheel.as_uri()}\\n'\n".encode() + BACKEND,
        "src/built.py": b"import needed\ndef main():\n    print('built with', needed.VALUE)\n",
    }


def write_wheel(folder: Path, name: str, source: bytes) -> Path:
    """A wheel of one module."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    path = folder / f"{name}-1.0-py3-none-any.whl"
    path.write_bytes(zip_of({**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}))
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


# -- archives


def tar_of(files: Mapping[str, bytes], *members: tarfile.TarInfo, executable: tuple[str, ...] = ()) -> bytes:
    """A .tar.gz of files, then of members without content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if name in executable else 0o644
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return packed.getvalue()


def member(name: str, type_: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = type_
    made.linkname = target
    return made


def zip_of(files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> bytes:
    """A .zip of files; modes are Unix modes with their type."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, 0) << 16
            archive.writestr(info, data)
    return packed.getvalue()


# -- a server

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Serves what `answers` says for a path, on a thread of its own; requests: (method, path, headers, body)."""

    def __init__(self, port: int) -> None:
        self.answers: dict[str, Answer | Callable[[Mapping[str, str]], Answer]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.hangs = threading.Event()
        """Until it is set, /hang sends half of what it promised."""
        self.url = f"http://127.0.0.1:{port}"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.requests.append((method, path, headers, body))
        found = self.answers.get(path, (404, {}, b""))
        return found(headers) if callable(found) else found


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server for the time of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            status, headers, body = told.answer(self.command, self.path, dict(self.headers), self.rfile.read(size))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)
                self.wfile.flush()
                if self.path == "/hang.tar.gz":
                    told.hangs.wait()

        do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told = Server(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            told.hangs.set()
            server.shutdown()
            thread.join()
