# SPDX-License-Identifier: Apache-2.0
"""Results to come: of requests, of work of one's own, of several futures together."""

from flux.core.future import Future
from flux.core.future_ext import FutureExt
from flux.core.wait_all import WaitAllFuture
from flux.core.wait_any import WaitAnyFuture

__all__ = ["Future", "FutureExt", "WaitAllFuture", "WaitAnyFuture"]
