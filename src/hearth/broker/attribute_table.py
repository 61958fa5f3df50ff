# SPDX-License-Identifier: Apache-2.0
"""Attributes that every broker of one node has, whatever the machine: names and values of flux-core 0.88.

Most describe parts that we do not have (a tree of brokers, a content store), with what they say when the tree is one
broker: tools read them and go on. None is a name that is known and listed, but has no value yet.
"""

from __future__ import annotations

from typing import Final

from hearth.broker.attributes import LOG_STDERR_LEVEL

__all__ = ["CONSTANT", "PLAIN"]

CONSTANT: Final[dict[str, str | None]] = {
    "rank": "0",
    "size": "1",
    "instance-level": "0",
    "jobid-path": "/",
    "parent-uri": None,
    "broker.mapping": "[[0,1,1,1]]",
    "broker.boot-method": "single",
    "broker.critical-ranks": "0",
    "broker.quorum": "1",
    "broker.quorum-warn": "1m",
    "broker.shutdown-warn": "1m",
    "broker.shutdown-timeout": "none",
    "broker.sd-stop-timeout": "none",
    "content.hash": "sha1",
    "log-level": "7",
    "log-ring-size": "1024",
    "log-forward-level": "3",
    "log-critical-level": "2",
    "log-syslog-level": "3",
    "log-syslog-enable": "0",
    "log-stderr-mode": "leader",
    "tbon.interface-hint": "default-route",
    "rundir-cleanup": "0",
    "statedir-cleanup": "0",
}
"""Clients may keep these for good."""

PLAIN: Final[dict[str, str | None]] = {
    "broker.cleanup-timeout": "none",
    "broker.unload-builtins-timeout": "1m",
    LOG_STDERR_LEVEL: "3",
    "tbon.topo": "kary:32",
    "tbon.level": "0",
    "tbon.maxlevel": "0",
    "tbon.descendants": "0",
    "tbon.torpid_min": "5s",
    "tbon.torpid_max": "30s",
    "tbon.connect_timeout": "30s",
    "tbon.tcp_user_timeout": "20s",
    "tbon.child_rcvhwm": "0",
    "tbon.prefertcp": "0",
    "tbon.zmqdebug": "0",
    "tbon.zmq_io_threads": "1",
}
"""Set by nobody but the daemon, yet not promised to stay."""
