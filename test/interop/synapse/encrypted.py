"""Encrypted rooms, with matrix-nio at both ends."""

import asyncio
import os
import tempfile

import nio_demo
from rooms import story


@story
def encrypted_messages(host, guest):
    accounts = {a.localpart: {"url": a.server.url, "user_id": a.id, "password": a.password} for a in (host, guest)}
    steps = nio_demo.Steps(quiet=True)

    async def play(stores):
        clients = [nio_demo.client(accounts, a.localpart, stores) for a in (host, guest)]
        try:
            await nio_demo.encrypted_room(steps, *clients)
        finally:
            for c in clients:
                await c.close()

    with tempfile.TemporaryDirectory() as stores:
        asyncio.run(play(os.path.join(stores, "nio")))
    assert steps.passed and not steps.failed, f"{steps.failed} steps failed"
