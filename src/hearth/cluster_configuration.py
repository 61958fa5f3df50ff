# SPDX-License-Identifier: Apache-2.0
"""The tables `cluster` and `cache` of the configuration: what the engine starts with.

The names are those of Flame's `flame-cluster.yaml`, so that such a file can be used as it is; what of it
has no meaning here is accepted and told of, what nobody knows is refused. Pure.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flamepy.core.types import ResourceRequirement
from hearth.engine.model import Resources
from hearth.engine.policies.ordering import POLICIES
from hearth.engine.state import Limits
from hearth.store.location import Location, read_location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["KEYS", "ClusterConfiguration", "read_cluster"]

_CAPACITY = "cluster.capacity"
_STORAGE = "cluster.storage"
_LEAST_S = 0.001  # less would be no time at all: nothing could ever be done in it
_MOST_S = 1e9  # thirty years: a loop cannot wait for infinity
_MOST = 1 << 63  # what answers to clients can carry


@dataclass(frozen=True, slots=True)
class ClusterConfiguration:
    """What the file says."""

    limits: Limits
    capacity: dict[str, int]
    """Of cpu, memory and gpu, those that are not to be measured."""
    storage: Location
    unused: tuple[str, ...]
    """Keys that Flame knows and that do nothing here."""

    def capacity_of(self, machine: Resources) -> Resources:
        """What the node offers: what the machine has, unless it is said otherwise."""
        return machine._replace(**self.capacity)


def read_cluster(configuration: Mapping[str, Any]) -> ClusterConfiguration:
    """Take the engine's part of a whole configuration; without one, the defaults.

    Raises ValueError with the key, what is there, and what is wanted.
    """
    limits: dict[str, Any] = {}
    capacity: dict[str, int] = {}
    storage = Location()
    unused: list[str] = []
    for table in ("cluster", "cache"):
        for key, value in _flatten(table, configuration.get(table, {})):
            if key in _LIMITS:
                field, read = _LIMITS[key]
                limits[field] = read(key, value)
            elif key == _CAPACITY:
                capacity = _amounts(key, value)
            elif key == _STORAGE:
                storage = _location(key, value)
            elif key.startswith("cache.") or key in _UNUSED:
                unused.append(key)
            else:
                raise ValueError(f"unknown key {key!r}{_nearest(key, sorted(KEYS), 'cluster.')}")
    return ClusterConfiguration(replace(Limits(), **limits), capacity, storage, tuple(unused))


def _flatten(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Every value that is no table, by its dotted name. An empty table, or nothing, says nothing."""
    if isinstance(value, dict) and name not in KEYS:
        for key, below in value.items():
            yield from _flatten(f"{name}.{key}", below)
    elif name in _TABLES:
        if value is not None:
            raise ValueError(f"{name} is {value!r}, want a table")
    elif value is not None:
        yield name, value


def _nearest(name: str, known: list[str], prefix: str = "") -> str:
    """What all begin with makes nobody more alike."""
    near = difflib.get_close_matches(name.removeprefix(prefix), [each.removeprefix(prefix) for each in known], 1)
    return f", did you mean '{prefix}{near[0]}'?" if near else f", use one of {', '.join(known)}"


# -- values


def _amounts(key: str, value: object) -> dict[str, int]:
    """What a text such as ``cpu=8,mem=16g,gpu=0`` names."""
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}, want a text such as 'cpu=1,mem=1g'")
    try:
        amounts = ResourceRequirement.from_string(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if max(amounts.cpu, amounts.memory, amounts.gpu) >= _MOST:
        raise ValueError(f"{key} is {value!r}, want less than {_MOST} of each")
    named = {entry.partition("=")[0].strip().lower() for entry in value.split(",")}
    named = {"memory" if name == "mem" else name for name in named}
    return {name: getattr(amounts, name) for name in named}


def _resources(key: str, value: object) -> Resources:
    resources = Resources(0, 0, 0)._replace(**_amounts(key, value))
    if not any(resources):
        raise ValueError(f"{key} is {value!r}, want more than nothing: executors without end would fit")
    return resources


def _location(key: str, value: object) -> Location:
    try:
        return read_location(str(value))
    except ValueError as error:
        raise ValueError(f"{key} is {error}") from None


def _policies(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} is {value!r}, want a list, such as {list(POLICIES)!r}")
    for name in value:
        if name not in POLICIES:
            raise ValueError(f"{key} names {name!r}{_nearest(str(name), list(POLICIES))}")
    return tuple(value)


def _number(least: int) -> Callable[[str, object], int]:
    def read(key: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{key} is {value!r}, want a whole number from {least} on")
        return value

    return read


def _seconds(*, may_be_0: bool = False) -> Callable[[str, object], float]:
    least = 0.0 if may_be_0 else _LEAST_S

    def read(key: str, value: object) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= _MOST_S:
            return float(value)
        raise ValueError(f"{key} is {value!r}, want a number of seconds from {least:g} to {_MOST_S:g}")

    return read


_LIMITS: dict[str, tuple[str, Callable[[str, object], object]]] = {
    "cluster.resreq": ("default_resources", _resources),
    "cluster.policies": ("policies", _policies),
    "cluster.limits.max_sessions": ("max_sessions", _number(1)),
    "cluster.limits.max_executors": ("max_executors", _number(1)),
    "cluster.recovery.session.retry_limits": ("bind_attempts", _number(1)),
    "cluster.max_retries": ("max_retries", _number(0)),
    "cluster.delay_release": ("delay_release_s", _seconds(may_be_0=True)),
    "cluster.quantum": ("quantum_s", _seconds()),
    "cluster.attach_timeout": ("attach_s", _seconds()),
}
"""Where each key goes, and how it is read."""

_UNUSED = (
    "cluster.name",
    "cluster.endpoint",
    "cluster.schedule_interval",
    "cluster.executors.shim",
    "cluster.tls.cert_file",
    "cluster.tls.key_file",
    "cluster.tls.ca_file",
    "cluster.pprof.port",
)

KEYS = frozenset({*_LIMITS, *_UNUSED, _CAPACITY, _STORAGE})
"""Every key of `cluster` that is no table. Of `cache`, any is taken."""
_TABLES = {name.rsplit(".", depth)[0] for name in (*KEYS, "cache.storage") for depth in range(1, name.count(".") + 1)}
"""Every name that has others below it."""
