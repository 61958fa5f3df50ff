# SPDX-License-Identifier: Apache-2.0
"""`hearth event`: events of the message plane."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import click
import msgspec

from flux.constants import FLUX_MSGFLAG_PRIVATE
from flux.message import Message
from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import open_bus
from hearth.cli.output import json_bytes, one_line, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hearth.cli.bus import Bus

__all__ = ["event"]

_PAYLOAD_MAX = 512 << 20  # half of what a message may hold: with --sync it travels as base64
_READ_BYTES = 1 << 20


@click.group(epilog="Example: hearth event sub")
def event() -> None:
    """Events of the message plane."""


# -- pub


class _Published(msgspec.Struct):
    seq: int


@event.command("pub", epilog="Example: hearth event pub job.start '{\"id\": 7}'")
@click.argument("topic")
@click.argument("payload", required=False)
@click.option("-r", "--raw", is_flag=True, help="PAYLOAD is bytes: unchecked, and without the NUL that ends a text.")
@click.option("-p", "--private", is_flag=True, help="For the owner of the instance and the publisher's user only.")
@click.option("-s", "--sync", is_flag=True, help="Wait until it is published, and print its sequence number.")
@bus_uri_option
@json_option
def pub(topic: str, payload: str | None, raw: bool, private: bool, sync: bool, uri: str | None, as_json: bool) -> None:
    """Publish an event.

    PAYLOAD is a text, `-` reads it from stdin, where one newline at its end is not part of it. A text that begins
    as JSON does, with { or [, must be JSON. Without --sync nothing confirms that the event was published.
    """
    frame = _frame_of(payload, is_raw=raw)
    if not topic.encode():  # raises UnicodeEncodeError for what is no UTF-8
        raise click.BadParameter("is empty", param_hint="TOPIC")
    flags = FLUX_MSGFLAG_PRIVATE if private else 0
    with open_bus(uri) as bus:
        sequence = (_publish if sync else _send)(bus, topic, frame, flags)
    if as_json:
        print_json({"topic": topic, "sequence": sequence})
    elif sequence is not None:
        click.echo(sequence)


def _frame_of(payload: str | None, *, is_raw: bool) -> bytes | None:
    """The bytes for the wire. Raises BadParameter for a text that cannot be sent as one."""
    if payload is None:
        return None
    data = _read_stdin() if payload == "-" else os.fsencode(payload)
    if is_raw:
        return data
    text = data.removesuffix(b"\n") if payload == "-" else data
    problem = _problem_of(text)
    if problem is not None:
        raise click.BadParameter(f"{problem}; --raw sends any bytes", param_hint="PAYLOAD")
    return text + b"\0"


def _read_stdin() -> bytes:
    """All of it, piece by piece: one long read takes no notice of a Ctrl-C between two pieces."""
    data = bytearray()
    while piece := os.read(0, _READ_BYTES):
        data += piece
        if len(data) > _PAYLOAD_MAX:
            raise click.BadParameter(f"is over {_PAYLOAD_MAX >> 20} MiB", param_hint="PAYLOAD")
    return bytes(data)


def _problem_of(text: bytes) -> str | None:
    if b"\0" in text:
        return "a text has no NUL in it"
    try:
        text.decode()
        if text.lstrip()[:1] in (b"{", b"["):
            msgspec.json.decode(text)
    except UnicodeDecodeError:
        return "is no UTF-8 text"
    except (msgspec.DecodeError, RecursionError) as error:
        return f"begins like JSON but is none ({error})"
    return None


def _publish(bus: Bus, topic: str, frame: bytes | None, flags: int) -> int:
    request: dict[str, object] = {"topic": topic, "flags": flags}
    if frame is not None:
        request["payload"] = frame  # becomes base64
    return bus.ask("event.publish", request, _Published).seq


def _send(bus: Bus, topic: str, frame: bytes | None, flags: int) -> int | None:
    message = Message.from_event_encode(topic)
    message.raw_payload = frame
    message.flags |= flags
    with bus.explaining(topic):
        bus.handle.send(message)
    return None  # the broker numbers it, and does not say


# -- sub


@event.command("sub", epilog="Example: hearth event sub --count 1 job")
@click.argument("topics", metavar="[TOPIC]...", nargs=-1)
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@bus_uri_option
@json_option
def sub(topics: tuple[str, ...], count: int | None, uri: str | None, as_json: bool) -> None:
    """Print events as they are published, until Ctrl-C.

    TOPIC is the beginning of a topic: `job` stands for `job`, `job.start` and `jobs`. Without one, every event
    is printed: its topic, a tab and its payload. With --json each is an object on a line of its own, with the
    payload as text, or as {"base64": …} where it is no text.
    """
    show = _print_json if as_json else _print_line
    with open_bus(uri) as bus:
        for message in itertools.islice(_events(bus, topics or ("",)), count):
            show(message)


def _events(bus: Bus, topics: Iterable[str]) -> Iterator[Message]:
    """Subscribe, then give every event. Raises ClickException when the connection ends."""
    for topic in topics:
        bus.ask("event.subscribe", {"topic": topic}, type(None))
    while True:
        with bus.explaining("event.subscribe"):
            message = bus.handle.event_recv()
        yield message


def _payload_of(message: Message) -> bytes | None:
    """Without the NUL that ends texts on this wire."""
    payload = message.raw_payload
    return None if payload is None else payload.removesuffix(b"\0")


def _print_line(message: Message) -> None:
    click.echo(f"{one_line(message.topic)}\t{one_line(_payload_of(message))}")


def _print_json(message: Message) -> None:
    print_json({"topic": message.topic, "sequence": message.seq, "payload": json_bytes(_payload_of(message))})
