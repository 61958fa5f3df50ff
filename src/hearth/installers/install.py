# SPDX-License-Identifier: Apache-2.0
"""One installation from its request to what is in the cache."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import sysconfig
from typing import TYPE_CHECKING

import msgspec

from hearth.installers.archive import is_archive, unpack
from hearth.installers.binary import BINARY_INSTALLATION, place_program
from hearth.installers.failure import InstallFailed
from hearth.installers.python import base_installation, find_uv, install_python
from hearth.installers.source import name_of, open_source

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.cache import InstallCache
    from hearth.installers.installation import Installation, Request
    from hearth.installers.source import Source

__all__ = ["install"]

_FORMAT = 1  # of an entry; a new number leaves those of older versions to be swept away


def install(request: Request, cache: InstallCache) -> tuple[str, Installation]:
    """The key and what is installed, at once if it is in the cache. Blocks; waits for others who do the same.

    Raises InstallFailed, or OSError if the disk does not take it.
    """
    cache.make_folders()
    cache.sweep()
    known = cache.remembered(request.url)
    if known is not None and cache.read(_key(request, name_of(request.url), known.digest)) is None:
        known = None
    with open_source(request.url, cache.scratch, known) as source:
        key = _key(request, source.name, source.digest)
        installation = cache.get_or_build(key, functools.partial(_build, request, source, cache))
    if source.remembered is not None:
        cache.remember(request.url, source.remembered)
    return key, installation


def _key(request: Request, name: str, digest: str) -> str:
    """By content, not by url: the same package elsewhere is the same. The name tells how it is unpacked."""
    parts = [_FORMAT, request.installer, name, digest]
    if request.installer == "python":  # what pip installs is for one interpreter, and its scripts name it
        parts += [request.python_version, sysconfig.get_platform(), sys.executable]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def _build(request: Request, source: Source, cache: InstallCache, folder: Path) -> Installation:
    if source.file is None:
        raise InstallFailed(f"{request.url} was swept out of the cache just now; the next attempt fetches it")
    if is_archive(source.name):
        unpack(source.file, source.name, folder / "source")
    elif request.installer == "binary":
        place_program(source.file, source.name, folder / "source")
    else:
        raise InstallFailed(f"{request.url}: a Python project comes as .tar.gz, .tgz or .zip")
    if request.installer == "binary":
        return BINARY_INSTALLATION
    environment = dict(os.environ)
    base_installation(request.python_version, cache.folder).apply(environment)
    log = cache.logs / f"{request.application}.log"
    return install_python(folder, request.python_version, log, environment, uv=find_uv(environment))
