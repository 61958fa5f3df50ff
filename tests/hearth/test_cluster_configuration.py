"""What a configuration says to the engine, in Flame's own words, and what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hearth.cluster_configuration import KEYS, read_cluster
from hearth.engine.model import Resources
from hearth.engine.state import Limits
from hearth.store.location import Location

UPSTREAM = """
cluster:
  name: flame
  endpoint: "http://127.0.0.1:8080"
  resreq: "cpu=2,mem=512m"
  policies: [priority, drf]
  storage: "sqlite://flame.db"
  schedule_interval: 100
  executors:
    shim: host
  limits:
    max_sessions: 1000
    max_executors: 64
  recovery:
    session:
      retry_limits: 7
  pprof:
    port: 6060
cache:
  endpoint: "http://127.0.0.1:9090"
  network_interface: "eth0"
  eviction:
    policy: lru
    max_memory: "1G"
"""


def test_nothing_said_is_the_defaults() -> None:
    configurations: list[dict[str, Any]] = [
        {},
        {"access": {"allow-guest-user": True}},
        {"cluster": None},
        {"cluster": {"limits": {}}},
    ]
    for configuration in configurations:
        read = read_cluster(configuration)
        assert (read.limits, read.unused) == (Limits(), ())
        assert read.capacity_of(Resources(2, 3, 4)) == Resources(2, 3, 4)


def test_the_file_of_flame_is_taken_as_it_is() -> None:
    read = read_cluster(yaml.safe_load(UPSTREAM))
    assert read.limits == Limits(
        default_resources=Resources(2, 512 << 20, 0),
        policies=("priority", "drf"),
        max_sessions=1000,
        max_executors=64,
        bind_attempts=7,
    )
    assert read.unused == (
        "cluster.name",
        "cluster.endpoint",
        "cluster.schedule_interval",
        "cluster.executors.shim",
        "cluster.pprof.port",
        "cache.endpoint",
        "cache.network_interface",
        "cache.eviction.policy",
        "cache.eviction.max_memory",
    )


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("none", Location(None)),
        ("sqlite://flame.db", Location("flame.db", "NORMAL")),
        ("sqlite:///var/lib/flame%20x.db?synchronous=full", Location("/var/lib/flame x.db", "FULL")),
    ],
)
def test_the_store_may_be_elsewhere_or_nowhere(text: str, location: Location) -> None:
    assert read_cluster({"cluster": {"storage": text}}).storage == location


@pytest.mark.parametrize(
    "text", ["", "fs://x", "sqlite://", "sqlite://x/", "sqlite://x?synchronous=off", "sqlite://x?y"]
)
def test_a_store_that_is_none_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cluster.storage is .* want none, sqlite://FILE"):
        read_cluster({"cluster": {"storage": text}})


def test_our_own_keys_are_read() -> None:
    read = read_cluster(
        {"cluster": {"delay_release": 0, "quantum": 2.5, "attach_timeout": 300, "max_retries": 0, "policies": []}}
    )
    assert read.limits == Limits(delay_release_s=0.0, quantum_s=2.5, attach_s=300.0, max_retries=0, policies=())


def test_the_capacity_that_is_named_replaces_that_part_of_the_machine() -> None:
    machine = Resources(64, 1 << 40, 8)
    for text, expected in [
        ("cpu=2", Resources(2, 1 << 40, 8)),
        ("cpu=8,mem=16g,gpu=0", Resources(8, 16 << 30, 0)),
        (" GPU = 1 ", Resources(64, 1 << 40, 1)),
        ("memory=1t", Resources(64, 1 << 40, 8)),
    ]:
        assert read_cluster({"cluster": {"capacity": text}}).capacity_of(machine) == expected


@pytest.mark.parametrize(
    ("cluster", "wrong"),
    [
        ({"polices": []}, "unknown key 'cluster.polices', did you mean 'cluster.policies'?"),
        ({"limits": {"max_executers": 1}}, "unknown key 'cluster.limits.max_executers', did you mean"),
        ({"a": {"b": {"c": {"d": 1}}}}, "unknown key 'cluster.a.b.c.d', use one of cluster.attach_timeout, "),
        ({"policies": ["drff"]}, "cluster.policies names 'drff', did you mean 'drf'?"),
        ({"policies": ["gang"]}, "cluster.policies names 'gang', use one of priority, drf"),
        ({"policies": "drf"}, "cluster.policies is 'drf', want a list, such as ['priority', 'drf']"),
        ({"limits": 5}, "cluster.limits is 5, want a table"),
        ({"limits": {"max_executors": 0}}, "cluster.limits.max_executors is 0, want a whole number from 1 on"),
        ({"limits": {"max_sessions": "9"}}, "cluster.limits.max_sessions is '9', want a whole number from 1 on"),
        ({"max_retries": True}, "cluster.max_retries is True, want a whole number from 0 on"),
        ({"recovery": {"session": {"retry_limits": 2.5}}}, "cluster.recovery.session.retry_limits is 2.5, want"),
        ({"quantum": 0}, "cluster.quantum is 0, want a number of seconds from 0.001 to 1e+09"),
        ({"quantum": float("nan")}, "cluster.quantum is nan, want"),
        ({"delay_release": -1}, "cluster.delay_release is -1, want a number of seconds from 0 to 1e+09"),
        ({"attach_timeout": float("inf")}, "cluster.attach_timeout is inf, want"),
        ({"resreq": {"cpu": 1}}, "cluster.resreq is {'cpu': 1}, want a text such as 'cpu=1,mem=1g'"),
        ({"resreq": "cpu=0"}, "cluster.resreq is 'cpu=0', want more than nothing"),
        ({"resreq": "cores=1"}, "cluster.resreq: resource requirement 'cores=1': unknown key 'cores', use cpu, mem"),
        ({"capacity": "cpu=99999999999999999999"}, "cluster.capacity is 'cpu=99999999999999999999', want less than"),
        ([], "cluster is [], want a table"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(cluster: Any, wrong: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the text is compared, all of it)
        read_cluster({"cluster": cluster})
    assert str(refused.value).startswith(wrong)


def test_every_key_is_documented_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text(encoding="utf-8")
    section = page.split("## Configuration")[1]
    documented = set(re.findall(r"`(cluster\.[a-z_.]+)`", section))
    assert documented == KEYS
