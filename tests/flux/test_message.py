from __future__ import annotations

import errno
import json
from typing import Any

import pytest

import flux
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_PAYLOAD,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGFLAG_ROUTE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_TOPIC,
    FLUX_MSGFLAG_USER1,
    FLUX_MSGTYPE_CONTROL,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
    FLUX_NODEID_UPSTREAM,
    FLUX_ROLE_NONE,
    FLUX_USERID_UNKNOWN,
)
from flux.message import Message, ProtocolError, msg_typestr
from flux.util import encode_payload, encode_topic
from tests.flux.vectors import DECODES, MESSAGES, payload_of

TYPES = [FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE, FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_CONTROL]


def message(type_id: int = FLUX_MSGTYPE_REQUEST, **fields: Any) -> Message:
    made = Message(type_id)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_a_new_message_has_the_defaults_of_its_type() -> None:
    request = Message()
    assert (request.type, request.type_str) == (FLUX_MSGTYPE_REQUEST, "request")
    assert (request.userid, request.rolemask, request.flags) == (FLUX_USERID_UNKNOWN, FLUX_ROLE_NONE, 0)
    assert (request.nodeid, request.matchtag, request.routes) == (FLUX_NODEID_ANY, 0, None)
    assert Message(FLUX_MSGTYPE_RESPONSE).errnum == 0
    assert Message(FLUX_MSGTYPE_EVENT).seq == 0


@pytest.mark.parametrize("type_id", [0, 3, 5, 15, 16])
def test_an_unknown_type_is_refused(type_id: int) -> None:
    with pytest.raises(OSError, match="EINVAL: Invalid argument"):
        Message(type_id)
    with pytest.raises(OSError, match="EINVAL: Invalid argument"):
        Message().type = type_id


def test_another_type_starts_with_fresh_fields_but_a_response_keeps_the_tag() -> None:
    made = message(nodeid=3, matchtag=7)
    made.type = FLUX_MSGTYPE_RESPONSE
    assert (made.errnum, made.matchtag) == (0, 7)
    made.type = FLUX_MSGTYPE_REQUEST
    assert (made.nodeid, made.matchtag) == (FLUX_NODEID_ANY, 0)


@pytest.mark.parametrize(
    ("field", "types"),
    [
        ("nodeid", [FLUX_MSGTYPE_REQUEST]),
        ("errnum", [FLUX_MSGTYPE_RESPONSE]),
        ("seq", [FLUX_MSGTYPE_EVENT]),
        ("matchtag", [FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE]),
        ("userid", TYPES),
        ("rolemask", TYPES),
    ],
)
def test_a_number_is_there_in_its_own_types_only(field: str, types: list[int]) -> None:
    for type_id in TYPES:
        made = Message(type_id)
        if type_id in types:
            setattr(made, field, 42)
            assert getattr(made, field) == 42
            continue
        with pytest.raises(OSError, match="EPROTO"):
            getattr(made, field)
        with pytest.raises(OSError, match="EINVAL"):
            setattr(made, field, 42)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_a_number_out_of_range_is_refused(value: int) -> None:
    for field in ("userid", "rolemask", "nodeid", "matchtag"):
        with pytest.raises(OverflowError, match=f"{value} is not in the range 0 to 4294967295"):
            setattr(Message(), field, value)


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="want an int"):
        message(userid="root")


def test_the_upstream_nodeid_is_not_for_messages() -> None:
    with pytest.raises(OSError, match="EINVAL"):
        message(nodeid=FLUX_NODEID_UPSTREAM)


def test_a_topic_is_text_however_it_was_given() -> None:
    assert message(topic="a.b").topic == message(topic=b"a.b").topic == "a.b"
    assert message(topic="㋛.☺").topic == "㋛.☺"


def test_a_wrong_topic_is_refused() -> None:
    with pytest.raises(OSError, match="EPROTO: Protocol error"):
        assert Message().topic
    with pytest.raises(OSError, match="Topic must not be None/NULL") as none:
        message(topic=None)
    assert none.value.errno == errno.EINVAL
    with pytest.raises(TypeError, match="Topic must be a string, not <class 'int'>"):
        message(topic=15)
    with pytest.raises(OSError, match="EINVAL"):
        message(FLUX_MSGTYPE_CONTROL, topic="a")


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        ("text", b"text\0"),
        ("", b"\0"),
        (b"bytes", b"bytes\0"),
        ({"ä": [1, 2.5, None]}, '{"ä": [1, 2.5, null]}\0'.encode()),
        (0, b"0\0"),
        (None, None),
    ],
)
def test_a_payload_is_sent_with_a_nul(payload: Any, sent: bytes | None) -> None:
    assert message(payload=payload).raw_payload == sent


def test_a_payload_is_read_up_to_its_nul() -> None:
    made = message(payload={"a": 1})
    assert (made.payload_str, made.payload) == (json.dumps({"a": 1}), {"a": 1})
    made.raw_payload = b'{"b": 2}\0rest\0'
    assert made.payload == {"b": 2}


def test_a_message_without_payload_has_no_text_and_no_json() -> None:
    assert Message().payload_str is None
    with pytest.raises(TypeError):
        assert Message().payload


def test_a_shorter_payload_leaves_nothing_of_the_longer_one() -> None:
    made = message(payload="abcdef")
    made.payload = "x"
    assert made.raw_payload == b"x\0"


def test_a_wrong_payload_is_refused() -> None:
    with pytest.raises(OSError, match="EPROTO"):
        assert message(raw_payload=b"raw").payload_str
    with pytest.raises(json.JSONDecodeError):
        assert message(payload="not json").payload
    with pytest.raises(TypeError, match="not JSON serializable"):
        message(payload=object())
    with pytest.raises(ValueError, match="want str or bytes"):
        message(payload_str={"a": 1})


def test_flags_follow_from_what_the_message_holds() -> None:
    made = message(flags=FLUX_MSGFLAG_USER1)
    assert made.flags == FLUX_MSGFLAG_USER1
    made.topic, made.payload, made.routes = "a", "b", []
    expected = FLUX_MSGFLAG_USER1 | FLUX_MSGFLAG_TOPIC | FLUX_MSGFLAG_PAYLOAD | FLUX_MSGFLAG_ROUTE
    assert made.flags == Message.decode(made.encode()).flags == expected


def test_of_noresponse_and_streaming_the_one_set_last_wins() -> None:
    made = message(flags=FLUX_MSGFLAG_NORESPONSE)
    made.flags |= FLUX_MSGFLAG_STREAMING
    assert made.flags == FLUX_MSGFLAG_STREAMING
    made.flags |= FLUX_MSGFLAG_NORESPONSE
    assert made.flags == FLUX_MSGFLAG_NORESPONSE
    with pytest.raises(OSError, match="EINVAL"):
        message(flags=FLUX_MSGFLAG_NORESPONSE | FLUX_MSGFLAG_STREAMING)


@pytest.mark.parametrize("flags", [-1, 0x100])
def test_flags_beyond_a_byte_are_refused(flags: int) -> None:
    with pytest.raises(OSError, match="EINVAL"):
        message(flags=flags)


def test_decode_takes_a_request_and_an_event_apart() -> None:
    assert message(topic="a.b", payload={"x": 1}).decode() == (FLUX_MSGTYPE_REQUEST, "a.b", '{"x": 1}')
    assert Message.from_event_encode("a.b").decode() == (FLUX_MSGTYPE_EVENT, "a.b", None)
    assert message(FLUX_MSGTYPE_RESPONSE, topic="foo").decode() == (FLUX_MSGTYPE_RESPONSE, "foo", None)


def test_decode_raises_the_error_of_a_response() -> None:
    with pytest.raises(FileNotFoundError, match="ENOENT: No such file or directory"):
        message(FLUX_MSGTYPE_RESPONSE, topic="a", errnum=errno.ENOENT, payload="the text").decode()


@pytest.mark.parametrize("made", [Message(), Message(FLUX_MSGTYPE_CONTROL), message(topic="a", raw_payload=b"raw")])
def test_decode_refuses_what_is_incomplete(made: Message) -> None:
    with pytest.raises(OSError, match="EPROTO: Protocol error"):
        made.decode()


@pytest.mark.parametrize("entry", MESSAGES, ids=lambda entry: str(entry["name"]))
def test_a_recorded_message_is_read_and_written_again(entry: dict[str, Any]) -> None:
    made = Message.decode(bytes.fromhex(entry["hex"]))
    assert (made.type, made.flags, made.routes) == (entry["type"], entry["flags"], entry["routes"])
    assert (made.userid, made.rolemask) == (entry["userid"], entry["rolemask"])
    assert made.raw_payload == payload_of(entry)
    assert made.encode().hex() == entry["hex"]


def built(entry: dict[str, Any]) -> Message:
    """The message of an entry, by the setters that a program would use."""
    made = Message(entry["type"])
    made.flags = entry["flags"] & ~(FLUX_MSGFLAG_TOPIC | FLUX_MSGFLAG_PAYLOAD | FLUX_MSGFLAG_ROUTE)
    made.userid, made.rolemask, made.routes = entry["userid"], entry["rolemask"], entry["routes"]
    if entry["topic"] is not None:
        made.topic = entry["topic"]
    setattr(made, {1: "nodeid", 2: "errnum", 4: "seq"}[made.type], entry["aux1"])
    if made.type != FLUX_MSGTYPE_EVENT:
        made.matchtag = entry["matchtag"]
    put_payload(made, payload_of(entry))
    return made


def put_payload(made: Message, payload: bytes | None) -> None:
    """As an object if that gives these bytes, else as text, else raw."""
    if payload is None or not payload.endswith(b"\0") or b"\0" in payload[:-1]:
        made.raw_payload = payload
        return
    try:
        made.payload = json.loads(payload[:-1])
    except ValueError:
        made.payload = payload[:-1]
    if made.raw_payload != payload:
        made.payload_str = payload[:-1].decode()


@pytest.mark.parametrize(
    "entry",
    [entry for entry in MESSAGES if entry["type"] != FLUX_MSGTYPE_CONTROL],
    ids=lambda entry: str(entry["name"]),
)
def test_a_recorded_message_is_built_by_its_setters_byte_for_byte(entry: dict[str, Any]) -> None:
    """All but control messages, which clients neither send nor get."""
    assert built(entry).encode().hex() == entry["hex"]


@pytest.mark.parametrize("entry", DECODES, ids=lambda entry: str(entry["name"]))
def test_a_hand_made_body_is_read_or_refused_as_the_c_library_does(entry: dict[str, Any]) -> None:
    body = bytes.fromhex(entry["body_hex"])
    framed = bytes.fromhex("1200eeff") + len(body).to_bytes(4, "big") + body
    if not entry["ok"]:
        with pytest.raises(ProtocolError) as refused:
            Message.decode(framed)
        assert refused.value.errno == entry["errno"]
        return
    read = Message.decode(framed)
    assert (read.type, read.raw_payload) == (entry["type"], payload_of(entry))
    assert (None if read.routes is None else len(read.routes)) == entry["route_count"]
    if entry["topic"] is not None:
        assert read.topic == entry["topic"]
    assert Message.decode(read.encode()).packet == read.packet


def test_decode_of_bytes_that_are_no_message_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Message.decode(b"nonsense")


def test_an_event_is_ready_to_be_sent() -> None:
    event = Message.from_event_encode(b"foo.bar", {"a": 1})
    assert (event.type, event.topic, event.payload, event.seq, event.routes) == (
        FLUX_MSGTYPE_EVENT,
        "foo.bar",
        {"a": 1},
        0,
        [],
    )
    event.flags |= FLUX_MSGFLAG_PRIVATE
    recorded = {entry["name"]: entry["hex"] for entry in MESSAGES}
    assert Message.from_event_encode("foo.bar", {"a": 1}).encode().hex() == recorded["event-json"]
    event.payload = "{}"
    assert event.encode().hex() == recorded["event-private"]


@pytest.mark.parametrize(("number", "name"), [(1, "request"), (2, "response"), (3, "request"), (4, "event")])
def test_a_type_is_named_by_its_lowest_bit(number: int, name: str) -> None:
    assert msg_typestr(number) == name
    assert (msg_typestr(8), msg_typestr(16)) == ("control", "unknown")


def test_payloads_and_topics_are_encoded_as_told() -> None:
    assert encode_payload(None) is None
    assert encode_payload("ü\udcff") == b"\xc3\xbc\xff"
    assert encode_payload([1, "☺"]) == '[1, "☺"]'.encode()
    assert encode_topic("☺") == "☺".encode()
    with pytest.raises(TypeError):
        encode_topic(3)  # type: ignore[arg-type]  # the refusal is the point


def test_the_message_module_offers_the_message_watcher() -> None:
    assert flux.message.MessageWatcher is flux.core.message_watcher.MessageWatcher
