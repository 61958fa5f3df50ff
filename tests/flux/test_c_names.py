"""The C library's names of a handle's functions, and the errors of the layer in between."""

from __future__ import annotations

from typing import Any

import pytest

import flux
from flux import wrapper
from flux.core import c_names
from flux.future import Future


def test_a_function_goes_by_its_long_name_too(live: Any) -> None:
    assert live.flux_event_subscribe("long") == live.flux_event_unsubscribe("long") == 0
    assert live.flux_get_reactor() is live.get_reactor()
    assert live.flux_pollfd() == live.pollfd()
    assert live.flux_reactor_run(live.get_reactor(), 0) == 0
    assert live.flux_send(live.event_create("long.event"), 0) == 0
    assert live.flux_rpc("attr.get", {"name": "rank"}, flux.constants.FLUX_NODEID_ANY, 0).get()["value"] == "0"


def test_a_future_got_by_a_long_name_is_wrapped_as_the_originals_are(live: Any) -> None:
    assert Future(live.flux_service_register("long-names")).get() is None
    assert Future(live.flux_service_unregister("long-names")).get() is None


def test_every_name_of_the_table_is_a_method(live: Any) -> None:
    for long_name in c_names._METHODS:
        assert callable(getattr(live, long_name)), long_name


def test_a_constant_goes_by_its_name_and_by_its_short_one(live: Any) -> None:
    assert live.FLUX_NODEID_ANY == live.NODEID_ANY == flux.constants.FLUX_NODEID_ANY > 0


def test_too_few_arguments_are_told(live: Any) -> None:
    with pytest.raises(wrapper.WrongNumArguments, match="flux_respond_error: got 1 arguments, want 3") as raised:
        live.flux_respond_error(None)
    assert isinstance(raised.value, ValueError)
    with pytest.raises(TypeError):
        live.respond_error(None)


def test_arguments_of_the_wrong_kind_are_told(live: Any) -> None:
    for refused in (ValueError, TypeError):
        with pytest.raises(refused) as raised:
            live.respond(15)
        assert type(raised.value) is wrapper.InvalidArguments


def test_a_name_that_is_none_is_missing_however_it_is_looked_for(live: Any) -> None:
    for name in ("zork", "flux_zork", "FLUX_ZORK", "flux_recv"):
        assert not hasattr(live, name)
        with pytest.raises(wrapper.MissingFunctionError, match=f"'Flux' object has no attribute '{name}'"):
            getattr(live, name)()


def test_what_the_type_is_of_which_a_handle_is_one(live: Any) -> None:
    assert isinstance(live, flux.Flux)
    assert flux.Flux is flux.core.handle.Flux
    assert flux.Message is flux.message.Message
