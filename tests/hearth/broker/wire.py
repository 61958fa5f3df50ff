"""A router without sockets: ports that keep what they are sent, and the messages that clients send."""

from __future__ import annotations

import json
from typing import Any

from flux import packet as wire
from flux.constants import FLUX_MSGTYPE_RESPONSE, FLUX_ROLE_LOCAL, FLUX_ROLE_OWNER, FLUX_ROLE_USER
from flux.packet import Decoder, Packet
from hearth.broker.credentials import Credentials
from hearth.broker.passage import Passage
from hearth.broker.router import Port, Router

OWNER = 1000
GUEST = 2000
BROKER = "bbbbbbbb-0000-0000-0000-000000000000"

owner_credentials = Credentials(OWNER, FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL)
guest_credentials = Credentials(GUEST, FLUX_ROLE_USER | FLUX_ROLE_LOCAL)


class Client(Port):
    """A connection that keeps what it is sent."""

    def __init__(self, router: Router, uuid: str, credentials: Credentials = owner_credentials) -> None:
        super().__init__(uuid, credentials)
        self.router = router
        self.passage = Passage(router, self)
        self.got: list[Packet] = []
        self.waits_for: list[Port] = []
        self.congested = False
        router.add(self)

    def send(self, data: bytes) -> None:
        self.got += Decoder().feed(data)

    def wait_for(self, congested: Port) -> None:
        self.waits_for.append(congested)

    @property
    def is_congested(self) -> bool:
        return self.congested

    def say(self, *packets: Packet) -> None:
        """Send messages, as they arrive after a trip over the wire."""
        self.say_bytes(b"".join(map(wire.encode, packets)))

    def say_bytes(self, data: bytes) -> None:
        """Hand over what arrived as a connection does."""
        for body, start, end in wire.Cutter().bodies(data):
            if not self.passage.send_on(body, start, end):
                self.router.receive(self, wire.decode_body(body, start, end))

    def ask(self, topic: str, payload: object = None, matchtag: int = 1, **fields: Any) -> Packet:
        """Send a request and take its one answer."""
        self.say(ask(topic, payload, matchtag, **fields))
        answer = self.got.pop()
        assert answer.type == FLUX_MSGTYPE_RESPONSE
        assert answer.aux2 == matchtag
        return answer

    def serve(self, name: str) -> None:
        assert self.ask("service.add", {"service": name}).aux1 == 0

    def hang_up(self) -> None:
        self.router.remove(self)


def ask(topic: str, payload: object = None, matchtag: int = 1, **fields: Any) -> Packet:
    """A request; a payload that is no bytes is sent as JSON."""
    data = payload if payload is None or isinstance(payload, bytes) else json.dumps(payload).encode() + b"\0"
    packet = wire.request(topic, data, matchtag=matchtag)
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


def answer_to(asked: Packet, payload: bytes | None = None, errnum: int = 0) -> Packet:
    return wire.response_to(asked, payload, errnum)


def text_of(answer: Packet) -> str | None:
    """The error text, which ends in a NUL."""
    if answer.payload is None:
        return None
    assert answer.payload.endswith(b"\0")
    return answer.payload[:-1].decode("utf-8", "surrogateescape")


def json_of(answer: Packet) -> Any:
    assert answer.payload is not None
    assert answer.payload.endswith(b"\0")
    return json.loads(answer.payload[:-1])
