# SPDX-License-Identifier: Apache-2.0
"""Requests at once, events, a stream. Run: python examples/stock/stock_client.py, while stock_service.py runs."""

import asyncio

import flux.aio


async def main() -> None:
    """Take an apple more than there are."""
    async with flux.aio.Flux() as handle, handle.events("stock.") as events:
        calls = [handle.rpc("stock.take", {"item": "apples", "count": 1}) for _ in range(4)]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            print(f"refused: {answer.strerror}" if isinstance(answer, OSError) else f"answer: {answer}")

        async for event in events:
            print(f"event: {event.topic} {event.payload}")
            if event.payload["left"] == 0:
                break

        async for item in handle.stream("stock.items"):
            print(f"item: {item}")


asyncio.run(main())
