"""The instance's configuration, over a real broker (t0001 "conf_get" of the original's own tests)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import flux


@pytest.fixture
def handle(live: flux.Flux) -> Iterator[flux.Flux]:
    """A handle on a broker whose configuration is put back afterwards."""
    before = live.rpc("config.get").get()
    yield live
    live.rpc("config.load", before).get()


def test_the_configuration_is_fetched_once_and_again_when_asked_to(handle: flux.Flux) -> None:
    assert handle.conf_get() == {}
    handle.rpc("config.load", {"tbon": {"topo": "kary:16"}}).get()
    assert handle.conf_get() == {}
    assert handle.conf_get(update=True) == {"tbon": {"topo": "kary:16"}}
    handle.rpc("config.load", {}).get()
    assert handle.conf_get("tbon.topo") == "kary:16"
    assert handle.conf_get("tbon.topo", None, True) is None


def test_a_dotted_key_descends_and_a_missing_one_is_the_default(handle: flux.Flux) -> None:
    handle.rpc("config.load", {"a": {"b": {"c": 42}, "text": "x"}}).get()
    assert handle.conf_get("a.b") == {"c": 42}
    assert handle.conf_get("a.b.c") == 42
    assert handle.conf_get("a.zork") is None
    for key in ("zork", "zork.b.c", "a.zork", "a.b.zork", ""):
        assert handle.conf_get(key, default=7) == 7
    with pytest.raises(AttributeError):
        handle.conf_get("a.text.more")
