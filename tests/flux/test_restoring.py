from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from flux.restoring import Restoring


def test_services_come_first_and_each_subscription_as_often_as_it_was_made() -> None:
    restoring = Restoring()
    restoring.subscribed("é")
    restoring.subscribed("b")
    restoring.subscribed("é")
    restoring.registered("s")
    assert restoring.requests() == [
        ("service.add", b'{"service": "s"}\0'),
        ("event.subscribe", '{"topic": "é"}\0'.encode()),
        ("event.subscribe", '{"topic": "é"}\0'.encode()),
        ("event.subscribe", b'{"topic": "b"}\0'),
    ]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_what_was_undone_is_not_restored(steps: list[tuple[bool, str]]) -> None:
    restoring = Restoring()
    counts, names = dict.fromkeys("abc", 0), set()
    for is_made, name in steps:
        if is_made:
            restoring.subscribed(name)
            restoring.registered(name)
            counts[name] += 1
            names.add(name)
        else:
            restoring.unsubscribed(name)
            restoring.unregistered(name)
            counts[name] = max(0, counts[name] - 1)
            names.discard(name)
    wanted = [json.loads(payload[:-1]) for _, payload in restoring.requests()]
    assert {body["service"] for body in wanted if "service" in body} == names
    topics = [body["topic"] for body in wanted if "topic" in body]
    assert {name: topics.count(name) for name in "abc"} == counts
