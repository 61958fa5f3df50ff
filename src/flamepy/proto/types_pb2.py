# SPDX-License-Identifier: Apache-2.0
"""The enums of the package `flame.v1` with the numbers of the wire.

As in a generated module each value is a constant of the module, too: ``types_pb2.ExecutorBound``.
"""

from typing import Final

from flamepy.proto.enum_type import EnumType

__all__ = [
    "ApplicationState",
    "Cancelled",
    "Closed",
    "Disabled",
    "Enabled",
    "ExecutorBinding",
    "ExecutorBound",
    "ExecutorIdle",
    "ExecutorReleased",
    "ExecutorReleasing",
    "ExecutorState",
    "ExecutorUnbinding",
    "ExecutorUnknown",
    "ExecutorVoid",
    "Failed",
    "Host",
    "NodeState",
    "NotReady",
    "Open",
    "Pending",
    "Ready",
    "Running",
    "SessionState",
    "Shim",
    "Succeed",
    "TaskState",
    "Unknown",
    "Wasm",
]

Open: Final = 0
Closed: Final = 1
SessionState: Final = EnumType("SessionState", {"Open": Open, "Closed": Closed})

Pending: Final = 0
Running: Final = 1
Succeed: Final = 2
Failed: Final = 3
Cancelled: Final = 4
TaskState: Final = EnumType(
    "TaskState",
    {"Pending": Pending, "Running": Running, "Succeed": Succeed, "Failed": Failed, "Cancelled": Cancelled},
)

Host: Final = 0
Wasm: Final = 1
Shim: Final = EnumType("Shim", {"Host": Host, "Wasm": Wasm})

Enabled: Final = 0
Disabled: Final = 1
ApplicationState: Final = EnumType("ApplicationState", {"Enabled": Enabled, "Disabled": Disabled})

ExecutorUnknown: Final = 0
ExecutorVoid: Final = 1
ExecutorIdle: Final = 2
ExecutorBinding: Final = 3
ExecutorBound: Final = 4
ExecutorUnbinding: Final = 5
ExecutorReleasing: Final = 6
ExecutorReleased: Final = 7
ExecutorState: Final = EnumType(
    "ExecutorState",
    {
        "ExecutorUnknown": ExecutorUnknown,
        "ExecutorVoid": ExecutorVoid,
        "ExecutorIdle": ExecutorIdle,
        "ExecutorBinding": ExecutorBinding,
        "ExecutorBound": ExecutorBound,
        "ExecutorUnbinding": ExecutorUnbinding,
        "ExecutorReleasing": ExecutorReleasing,
        "ExecutorReleased": ExecutorReleased,
    },
)

Unknown: Final = 0
Ready: Final = 1
NotReady: Final = 2
NodeState: Final = EnumType("NodeState", {"Unknown": Unknown, "Ready": Ready, "NotReady": NotReady})
