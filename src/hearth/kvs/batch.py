# SPDX-License-Identifier: Apache-2.0
"""What one batch of messages changes: written at its end in one transaction, and told to nobody before."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.broker.router import Router
    from hearth.kvs.namespaces import Namespace, Namespaces
    from hearth.kvs.store import Store

__all__ = ["Batch"]

log = logging.getLogger(__name__)


class Batch:
    """Changes that are made but not written, and what waits until they are.

    The broker calls `finish` before it writes to connections. store: None to keep everything in memory only.
    """

    def __init__(self, router: Router, namespaces: Namespaces, store: Store | None) -> None:
        self._router, self._namespaces, self._store = router, namespaces, store
        self._before: dict[str, Namespace] | None = None
        self._is_for_disk = False
        self._when_written: list[tuple[Packet, Callable[[], None]]] = []
        self._behind: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Something is about to change."""
        if self._before is None:
            self._before = self._namespaces.all()

    def when_written(self, request: Packet, tell: Callable[[], None], *, to_disk: bool = False) -> None:
        """The request has changed something; tell is called when that is stored, EIO answered if it cannot be.

        to_disk: not even a crash of the machine may take it back.
        """
        self._when_written.append((request, tell))
        self._is_for_disk |= to_disk

    def comes_behind(self, resume: Callable[[], None]) -> bool:
        """Whether something has changed that is not written yet; resume is then called when it is, or is undone."""
        if self._before is not None:
            self._behind.append(resume)
        return self._before is not None

    def finish(self) -> None:
        """Write, tell, and go on."""
        if self._before is None:
            return
        before, self._before = self._before, None
        when_written, self._when_written = self._when_written, []
        behind, self._behind = self._behind, []
        to_disk, self._is_for_disk = self._is_for_disk, False
        try:
            self._write(to_disk=to_disk)
        except OSError as error:
            log.error("%s; %d changes are undone", error.strerror, len(when_written))
            self._namespaces.restore(before)
            for request, _ in when_written:
                self._router.respond_error(request, error.errno or errno.EIO, error.strerror)
        else:
            for _, tell in when_written:
                tell()
        for resume in behind:
            resume()

    def _write(self, *, to_disk: bool) -> None:
        if self._store is None:
            self._namespaces.content.changes.clear()
        else:
            self._store.flush(to_disk=to_disk)
