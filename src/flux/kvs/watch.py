# SPDX-License-Identifier: Apache-2.0
"""Following the value of a key."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.constants import (
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_UNIQ,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
)
from flux.kvs.lookup import decode_value, namespace_or_default, require_key
from flux.rpc import RPC

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["KVSWatchFuture", "kvs_watch_async"]


class KVSWatchFuture(RPC):
    """The values of a key as they come; made by `kvs_watch_async`."""

    __slots__ = ()

    def get(self, autoreset: bool = True) -> Any:
        """Wait for the next value and return it, None when the watch was cancelled.

        autoreset False: the same value is returned again until `reset`. Raises OSError: ENOENT when the key is missing
        or removed, ENOTSUP when its namespace is. One thread takes the values.
        """
        try:
            value = decode_value(super().get()["val"])
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise
        if autoreset:
            self.reset()
        return value

    def cancel(self, stop: bool = False) -> None:
        """End the watch: what has been sent still comes, then None. stop: call back no more."""
        handle = self.get_flux()
        assert handle is not None
        handle.rpc("kvs-watch.cancel", {"matchtag": self._answers.tag}, flags=FLUX_RPC_NORESPONSE)
        if stop:
            self.stop()


def kvs_watch_async(
    flux_handle: Flux,
    key: str,
    namespace: str | None = None,
    waitcreate: bool = False,
    uniq: bool = False,
    full: bool = False,
) -> KVSWatchFuture:
    """Follow a key: its value now, and at each commit that writes it.

    waitcreate: wait for the key if it is missing now. uniq: only when the value differs from the last one. full: notice
    what happens to directories above it too. Raises OSError (EINVAL) for an empty key.
    """
    flags = FLUX_KVS_WATCH
    flags |= FLUX_KVS_WAITCREATE if waitcreate else 0
    flags |= FLUX_KVS_WATCH_UNIQ if uniq else 0
    flags |= FLUX_KVS_WATCH_FULL if full else 0
    request = {"key": require_key(key), "namespace": namespace_or_default(namespace), "flags": flags}
    return KVSWatchFuture(flux_handle, "kvs-watch.lookup", request, flags=FLUX_RPC_STREAMING)
