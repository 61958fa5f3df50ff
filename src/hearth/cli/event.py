# SPDX-License-Identifier: Apache-2.0
"""`hearth event`: events of the message plane."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import click
import msgspec

from flux.connector import connect
from flux.constants import FLUX_MSGTYPE_EVENT
from flux.session import Session
from hearth.cli.address import FLUX_FIRST, json_option, need_uri, uri_option
from hearth.cli.output import json_bytes, one_line, print_json

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

    from flux.packet import Packet

__all__ = ["event"]

_READ_BYTES = 64 << 10


@click.group(epilog="Example: hearth event sub")
def event() -> None:
    """Events of the message plane."""


@event.command("sub", epilog="Example: hearth event sub --count 1 job")
@click.argument("topics", metavar="[TOPIC]...", nargs=-1)
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@uri_option
@json_option
def sub(topics: tuple[str, ...], count: int | None, uri: str | None, as_json: bool) -> None:
    """Print events as they are published, until Ctrl-C.

    TOPIC is the beginning of a topic: `job` stands for `job`, `job.start` and `jobs`. Without one, every event
    is printed: its topic, a tab and its payload. With --json each is an object on a line of its own, with the
    payload as text, or as {"base64": …} where it is no text. Here FLUX_URI comes before FLAME_ENDPOINT.
    """
    address = need_uri(uri, FLUX_FIRST)
    show = _print_json if as_json else _print_line
    try:
        stream = connect(address)
    except OSError as error:
        reason = error.strerror or error
        raise click.ClickException(f"no instance answers at {address} ({reason}); start one: hearth up") from error
    with stream:
        for packet in itertools.islice(_events(stream, address, topics or ("",)), count):
            show(packet)


class _Subscription:
    """Waits for the answer to one event.subscribe."""

    def on_response(self, response: Packet) -> None:
        """Raises ClickException if it was refused."""
        if response.aux1:
            raise click.ClickException(f"event.subscribe was refused: {os.strerror(response.aux1)}")

    def on_lost(self, error: OSError) -> None:
        """Never called: the loop itself meets the end of the connection."""


def _events(stream: socket.socket, address: str, topics: Iterable[str]) -> Iterator[Packet]:
    """Subscribe, then give every event. Raises ClickException when the connection ends."""
    session = Session()
    for topic in topics:
        session.request("event.subscribe", msgspec.json.encode({"topic": topic}) + b"\0", _Subscription())
    try:
        stream.sendall(session.bytes_to_send())
        while data := stream.recv(_READ_BYTES):
            session.receive(data)
            while session.inbox:
                packet = session.inbox.popleft()
                if packet.type == FLUX_MSGTYPE_EVENT:
                    yield packet
        reason = "the instance hung up"
    except OSError as error:
        reason = error.strerror or str(error)
    raise click.ClickException(f"connection to {address} is lost: {reason}")


def _payload_of(packet: Packet) -> bytes | None:
    """Without the NUL that ends texts on this wire."""
    return None if packet.payload is None else packet.payload.removesuffix(b"\0")


def _print_line(packet: Packet) -> None:
    click.echo(f"{one_line(packet.topic)}\t{one_line(_payload_of(packet))}")


def _print_json(packet: Packet) -> None:
    print_json({"topic": packet.topic, "sequence": packet.aux1, "payload": json_bytes(_payload_of(packet))})
