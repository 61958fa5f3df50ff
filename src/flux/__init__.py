# SPDX-License-Identifier: Apache-2.0
"""The Flux message plane in plain Python: messages, handles, futures, events and the reactor."""

from flux import constants, future, message, rpc, util, wrapper
from flux.core.handle import Flux
from flux.message import Message
from flux.rpc import RPC

__all__ = ["RPC", "Flux", "Message", "constants", "future", "message", "rpc", "util", "wrapper"]
