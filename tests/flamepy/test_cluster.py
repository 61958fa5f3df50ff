"""Nodes and executors as programs see them; after §1.4, §2.5 and §8.1."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from flamepy import FlameErrorCode, ResourceRequirement, Shim
from flamepy.proto import types_pb2
from tests.conftest import act, expect_refusal, has_closed, wait_until

if TYPE_CHECKING:
    import flamepy
    from tests.conftest import Gate, NewSession

EXECUTOR_STATES = ["Unknown", "Void", "Idle", "Binding", "Bound", "Unbinding", "Releasing", "Released"]


def test_there_is_one_node_and_it_is_ready(client: flamepy.Connection) -> None:
    (node,) = client.list_nodes()
    assert node.metadata.id == node.metadata.name == node.spec.hostname == socket.gethostname()
    assert types_pb2.NodeState.Name(node.status.state) == "Ready"
    assert node.status.capacity.cpu == len(os.sched_getaffinity(0))
    assert node.status.capacity.memory > 1 << 28
    assert node.status.capacity.gpu >= 0
    assert node.status.allocatable == node.status.capacity
    assert (node.status.info.arch, node.status.info.os) == (os.uname().machine, sys.platform)
    assert node.status.addresses == []
    assert abs(node.status.last_heartbeat_time / 1000 - time.time()) < 60


def test_a_node_is_found_by_its_name(client: flamepy.Connection) -> None:
    (node,) = client.list_nodes()
    found = client.get_node(node.metadata.name)
    assert (found.metadata, found.spec, found.status.capacity) == (node.metadata, node.spec, node.status.capacity)
    with expect_refusal(FlameErrorCode.NOT_FOUND, "node 'nobody' not found", "hearth node list"):
        client.get_node("nobody")


def test_an_executor_tells_its_session_its_node_and_its_share(
    client: flamepy.Connection, new_session: NewSession, gate: Gate
) -> None:
    session = new_session()
    waiting = session.run(gate.task)
    gate.wait_until_reached()
    (executor,) = [each for each in client.list_executors() if each.status.session_id == session.id]
    assert executor.metadata.id == executor.metadata.name
    assert executor.spec.node == client.list_nodes()[0].metadata.name
    assert (executor.spec.resreq, executor.spec.shim) == (ResourceRequirement(1, 1 << 30, 0), Shim.HOST)
    assert types_pb2.ExecutorState.Name(executor.status.state) == "ExecutorBound"
    gate.open()
    assert waiting.result() == b"through"


def test_an_executor_is_gone_when_its_session_is_closed(client: flamepy.Connection, new_session: NewSession) -> None:
    session = new_session()
    session.invoke(act("return", "x"))
    assert has_closed(session)
    wait_until(
        lambda: not [each for each in client.list_executors() if each.status.session_id == session.id],
        "the executor is gone",
    )


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        ("SessionState", ["Open", "Closed"]),
        ("TaskState", ["Pending", "Running", "Succeed", "Failed", "Cancelled"]),
        ("Shim", ["Host", "Wasm"]),
        ("ApplicationState", ["Enabled", "Disabled"]),
        (
            "ExecutorState",
            [f"Executor{name}" for name in EXECUTOR_STATES],
        ),
        ("NodeState", ["Unknown", "Ready", "NotReady"]),
    ],
)
def test_the_enums_have_upstream_s_names_and_numbers(enum: str, names: list[str]) -> None:
    wrapper = getattr(types_pb2, enum)
    assert wrapper.keys() == names
    assert wrapper.values() == list(range(len(names)))
    assert wrapper.items() == [(name, number) for number, name in enumerate(names)]
    for number, name in enumerate(names):
        assert wrapper.Name(number) == name
        assert wrapper.Value(name) == getattr(wrapper, name) == getattr(types_pb2, name) == number


def test_an_unknown_number_or_name_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="ExecutorState has no name for the value 8"):
        types_pb2.ExecutorState.Name(8)
    with pytest.raises(ValueError, match="NodeState has no value 'Gone', only Unknown, Ready, NotReady"):
        types_pb2.NodeState.Value("Gone")
    with pytest.raises(TypeError, match="want a number"):
        types_pb2.NodeState.Name("Ready")  # type: ignore[arg-type]  # what a confused caller does
    with pytest.raises(AttributeError, match="NodeState has no value 'Gone'"):
        _ = types_pb2.NodeState.Gone


def test_a_resource_requirement_can_be_read_off_a_node(client: flamepy.Connection) -> None:
    assert isinstance(client.list_nodes()[0].status.capacity, ResourceRequirement)
