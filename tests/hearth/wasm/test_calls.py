# SPDX-License-Identifier: Apache-2.0
"""What a component is told and what comes back, in this process."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from flamepy.core.service import ServiceFailure
from hearth.wasm.binary import COMPONENT_HEADER
from hearth.wasm.settings import Settings
from tests.hearth.wasm.components import CURRENT, FIRST, NEWEST, Version, actor, by_values

if TYPE_CHECKING:
    from tests.hearth.wasm.conftest import Load

AFTER_A_MODULE = actor().replace("(component", "(component (core module (func))", 1)
BY_VALUES = by_values(actor())

every_way = pytest.mark.parametrize("source", [actor(), AFTER_A_MODULE, BY_VALUES], ids=["first", "later", "values"])


def test_bytes_go_through_the_adapter_wherever_it_fits(load: Load) -> None:
    assert [load(source).is_quick for source in (actor(), AFTER_A_MODULE, BY_VALUES)] == [True, True, False]


@every_way
def test_absent_empty_and_full_inputs_and_outputs_are_different_things(load: Load, source: str) -> None:
    loaded = load(source)
    assert [loaded.do(data) for data in (None, b"", b"e", b"e\0", b"n")] == [None, b"", b"", b"\0", None]


@every_way
def test_every_byte_at_every_length_comes_back(load: Load, source: str) -> None:
    loaded = load(source)
    data = bytes(range(256))
    for size in [*range(12), 253, 254, 255, 256]:
        assert loaded.do(b"e" + data[-size:]) == data[-size:]


@every_way
def test_an_error_of_the_component_is_its_message_alone_and_no_end(load: Load, source: str) -> None:
    loaded = load(source)
    with pytest.raises(ServiceFailure) as failure:
        loaded.do("fthe reason: näh".encode())
    assert str(failure.value) == "the reason: näh"
    assert loaded.do(b"c") == b"2"


@every_way
def test_common_data_reaches_enter(load: Load, source: str) -> None:
    data = random.Random(1).randbytes(100_000 if "insecure" not in source else 1000)
    assert load(source, b"x" + data).do(b"d") == b"x" + data


@pytest.mark.parametrize(
    ("version", "told"),
    [(FIRST, b"7a-session"), (CURRENT, b"7a-sessiondefault"), (NEWEST, b"defaultan-applicationa-session7")],
)
def test_components_of_each_version_of_the_interface_are_told_what_they_ask_for(
    load: Load, version: Version, told: bytes
) -> None:
    assert load(actor(version)).do(b"v") == told


def test_an_error_without_a_message_is_its_name(load: Load) -> None:
    with pytest.raises(ServiceFailure, match=r"^internal$"):
        load(actor(FIRST)).do(b"f")


def test_large_data_there_and_back_is_the_same(load: Load) -> None:
    loaded = load(actor())
    for size in (1 << 20, (5 << 20) + 1):
        data = random.Random(size).randbytes(size)
        assert loaded.do(b"e" + data) == data


def test_memory_of_the_adapter_is_used_again(load: Load) -> None:
    loaded = load(actor(), settings=Settings(memory=4 << 20))
    for _ in range(50):
        assert loaded.do(b"e" + bytes(500_000)) == bytes(500_000)


def test_data_that_exceeds_the_memory_says_so_and_is_no_end(load: Load) -> None:
    loaded = load(actor(), settings=Settings(memory=1 << 20))
    with pytest.raises(ServiceFailure, match="exceeds HEARTH_WASM_MEMORY, 1048576 bytes"):
        loaded.do(b"e" + bytes(2 << 20))
    assert loaded.do(b"ex") == b"x"


def test_a_component_that_needs_more_memory_from_the_start_does_not_enter(load: Load) -> None:
    with pytest.raises(ServiceFailure, match=r"component\.wasm: memory minimum size of 2 pages exceeds memory limits"):
        load(actor(), settings=Settings(memory=65536))


def test_memory_beyond_the_limit_is_not_given(load: Load) -> None:
    assert load(actor(), settings=Settings(memory=32 << 20)).do(b"g") == b"n"
    assert load(actor(), settings=Settings(memory=128 << 20)).do(b"g") == b"y"


@every_way
def test_a_trap_fails_its_task_and_the_next_one_has_a_fresh_instance(load: Load, source: str) -> None:
    loaded = load(source, b"common")
    loaded.do(b"c")
    with pytest.raises(ServiceFailure, match="`unreachable` instruction executed") as failure:
        loaded.do(b"trap")
    assert "Core!<wasm function" in str(failure.value)
    assert (loaded.do(b"d"), loaded.do(b"c")) == (b"common", b"2")


@every_way
def test_a_call_that_never_ends_is_stopped_and_the_next_one_works(load: Load, source: str) -> None:
    loaded = load(source, settings=Settings(timeout_s=0.1))
    with pytest.raises(ServiceFailure, match=r"took longer than HEARTH_WASM_TIMEOUT, 0\.1 s"):
        loaded.do(b"loop")
    assert loaded.do(b"c") == b"1"


@pytest.mark.parametrize(
    ("common_data", "text"), [(b"f is refused", "f is refused"), (b"trap", "stopped in on-session-enter: ")]
)
def test_a_component_that_does_not_enter_fails_with_its_own_words(load: Load, common_data: bytes, text: str) -> None:
    with pytest.raises(ServiceFailure, match=text):
        load(actor(), common_data)


NO_SERVICE = '(component (component $C) (instance $i (instantiate $C)) (export "an:other/face" (instance $i)))'
OTHER_SERVICE = actor().replace("on-session-leave", "on-session-end")
OTHER_FIELD = actor(Version(("session", "tenant"), ("task", "session")))
NO_ERROR = actor().replace("(error $flame-error)", "(error u8)").replace("(error $out-flame-error)", "(error u8)")
OTHER_INPUT = actor().replace('(param "input" (option (list u8)))', '(param "input" (option string))')


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(module)", "it is a core module, no component"),
        ("(component (nonsense))", "nonsense"),
        (COMPONENT_HEADER + b"\x01\x05abc", "a section or name of 5 bytes, and only 3 are left"),
        (b"\0asm\x77\0\0\0", "WebAssembly of another version"),
        (NO_SERVICE, "does not export the interface component:flame/service, but an:other/face"),
        (OTHER_SERVICE, "has no on-session-leave, only "),
        (OTHER_FIELD, "on-session-enter has a field 'tenant', String, that Hearth does not know"),
        (NO_ERROR, r"on-session-enter is not a func\(ctx: record\) -> result<_, record, enum or string>"),
        (OTHER_INPUT, r"on-task-invoke is not a func\(ctx: record, input: option<list<u8>>\)"),
    ],
)
def test_what_is_no_component_of_the_interface_is_refused_with_what_it_lacks(
    load: Load, source: str | bytes, text: str
) -> None:
    with pytest.raises(ServiceFailure, match=r"(?s)component .*/component\.wasm: .*" + text):
        load(source)
