"""Who is connected, as the daemon tells its owner."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.hearth.broker.daemon import running_daemon, wait_until
from tests.hearth.broker.wire import json_of

if TYPE_CHECKING:
    from tests.hearth.broker.daemon import RawClient


def test_the_owner_sees_who_is_connected_and_how_many_ever_were() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        with daemon.connect() as other:
            assert other.is_served()
            stats = json_of(client.ask("connector-local.stats-get"))
            peers = stats["server"]["clients"]
            assert {(peer["userid"], peer["pid"]) for peer in peers} == {(os.getuid(), os.getpid())}
            assert len({peer["uuid"] for peer in peers}) == len(peers) == 2
        wait_until(lambda: daemon.connections(client) == 1)
        stats = json_of(client.ask("connector-local.stats-get"))
        assert (len(stats["server"]["clients"]), stats["server"]["connects"]) == (1, 2)
        assert (stats["allow_guest_user"], stats["allow_root_owner"]) == (False, False)


def test_the_owner_sees_what_each_connection_moved_and_has() -> None:
    with running_daemon() as daemon, daemon.connect() as client, daemon.connect() as other:
        assert other.ask("service.add", {"service": "sums"}).aux1 == 0
        for topic in ("a", "a", "b"):
            assert other.ask("event.subscribe", {"topic": topic}).aux1 == 0
        before, after = (_told_of_others(client) for _ in range(2))
        assert before == after
        assert other.ask("broker.ping", {"pad": "x" * 1000}).aux1 == 0
        after = _told_of_others(client)
        assert (after["services"], after["subscriptions"]) == (["sums"], 2)
        assert (after["txcount"], after["rxcount"]) == (5, 5)
        assert after["rxbytes"] - before["rxbytes"] in range(1000, 1200)
        assert after["txbytes"] - before["txbytes"] in range(1000, 1200)


def _told_of_others(client: RawClient) -> Any:
    """The one that has subscribed."""
    peers = json_of(client.ask("connector-local.stats-get"))["server"]["clients"]
    (other,) = [peer for peer in peers if peer["subscriptions"]]
    return other


def test_a_daemon_has_every_service_that_clients_of_one_node_expect() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        names = {module["name"] for module in json_of(client.ask("module.list"))["mods"]}
        expected = (
            "attr broker config connector-local event flame groups heartbeat job-manager kvs kvs-watch log module"
            " overlay resource service shutdown state-machine"
        )
        assert names == set(expected.split())
        for name in names:
            assert client.ask(f"{name}.ping", {}).aux1 == 0
