"""§10.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import ApplicationAttributes, ApplicationState, Shim

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "registered"

pytestmark = pytest.mark.usefixtures("instance")


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    yield
    if flamepy.get_application(NAME) is not None:
        flamepy.unregister_application(NAME)


def test_empty_attributes_are_enough_to_register_an_application() -> None:
    flamepy.register_application(NAME, ApplicationAttributes())
    found = flamepy.get_application(NAME)
    assert found is not None
    assert (found.name, found.state) == (NAME, ApplicationState.ENABLED)
    flamepy.unregister_application(NAME)
    assert NAME not in [each.name for each in flamepy.list_applications()]


def test_the_built_in_applications_are_there_and_nothing_else() -> None:
    listed = flamepy.list_applications()
    assert sorted(each.name for each in listed) == ["flmexec", "flmping", "flmrun"]
    assert {each.state for each in listed} == {ApplicationState.ENABLED}


def test_a_url_comes_back_unchanged() -> None:
    flamepy.register_application(NAME, ApplicationAttributes(url="file:///opt/package.whl", description="with a URL"))
    found = flamepy.get_application(NAME)
    assert found is not None
    assert (found.url, found.description) == ("file:///opt/package.whl", "with a URL")


def test_without_a_url_there_is_none() -> None:
    flamepy.register_application(NAME, ApplicationAttributes(description="without a URL"))
    found = flamepy.get_application(NAME)
    assert found is not None
    assert found.url is None


def test_without_a_shim_it_is_a_host_application() -> None:
    flamepy.register_application(NAME, ApplicationAttributes(command="/usr/bin/python3", arguments=["-c", "print(1)"]))
    found = flamepy.get_application(NAME)
    assert found is not None
    assert (found.command, found.arguments, found.shim) == ("/usr/bin/python3", ["-c", "print(1)"], Shim.HOST)
    flamepy.unregister_application(NAME)
    assert flamepy.get_application(NAME) is None
