"""An encrypted room across two ministries, by matrix-nio.

Logs in as an agent of each ministry, creates an encrypted room, invites across
the federation, sends both ways and reads what was decrypted; then asks for what
the policy refuses. Prints a line a step and ends with "N passed, N failed".
"""

import asyncio
import io
import json
import os
import sys
import time

import nio
from nio.crypto.attachments import decrypt_attachment

TIMEOUT = 30  # seconds, for anything that is waited for


class Steps:
    """What passed and what failed."""

    def __init__(self, quiet=False):
        self.passed, self.failed, self.quiet = 0, 0, quiet

    def check(self, name, good, detail=""):
        if good:
            self.passed += 1
            if not self.quiet:
                print(f"ok    {name}")
        else:
            self.failed += 1
            print(f"FAIL  {name}: {detail}")


def client(accounts, name, stores):
    """A client with a store of its own for its keys."""
    account = accounts[name]
    store = os.path.join(stores, name)
    os.makedirs(store)
    config = nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
    c = nio.AsyncClient(account["url"], account["user_id"], store_path=store, config=config)
    c.password = account["password"]
    c.texts, c.files = [], []
    c.add_event_callback(lambda room, e: c.files.append(e), nio.RoomEncryptedFile)
    c.add_event_callback(lambda room, e: c.texts.append((e.sender, e.body, e.decrypted)), nio.RoomMessageText)
    return c


async def until(clients, condition, what):
    """Syncs the clients until a condition holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        for c in clients:
            answer = await c.sync(timeout=500)
            if isinstance(answer, nio.SyncError):
                raise RuntimeError(f"{c.user_id}: {answer}")
            if c.should_upload_keys:
                await c.keys_upload()
            if c.should_query_keys:
                await c.keys_query()
            await c.send_to_device_messages()


async def say(c, room, text):
    """Sends to every device there is: verification is not what is tested."""
    content = {"msgtype": "m.text", "body": text}
    return await c.room_send(room, "m.room.message", content, ignore_unverified_devices=True)


async def login(steps, c):
    answer = await c.login(c.password)
    steps.check(f"{c.user_id} logs in", isinstance(answer, nio.LoginResponse), answer)
    await c.keys_upload()


async def encrypted_room(steps, alice, bob):
    """Two accounts in an encrypted room that talk, each way."""
    for c in (alice, bob):
        await login(steps, c)
    created = await alice.room_create(
        name="Chiffré",
        initial_state=[{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}],
        invite=[bob.user_id],
    )
    steps.check(f"{alice.user_id} creates an encrypted room", isinstance(created, nio.RoomCreateResponse), created)
    room = created.room_id
    await until([alice, bob], lambda: room in bob.invited_rooms, "the invitation")
    steps.check(f"{bob.user_id} is invited across the federation", True)
    joined = await bob.join(room)
    steps.check(f"{bob.user_id} joins", isinstance(joined, nio.JoinResponse), joined)
    await until([alice, bob], lambda: room in bob.rooms and bob.rooms[room].encrypted
                and room in alice.rooms and bob.user_id in alice.rooms[room].users, "both in the room")
    await until([alice, bob], lambda: alice.device_store.active_user_devices(bob.user_id)
                and any(alice.device_store.active_user_devices(bob.user_id)), "each other's devices")
    await talk(steps, alice, bob, room)
    return room


async def story(steps, accounts, stores):
    alice, bob = client(accounts, "alice", stores), client(accounts, "bob", stores)
    try:
        room = await encrypted_room(steps, alice, bob)
        await attach(steps, alice, bob, room)
        await refusals(steps, accounts, alice, room)
    finally:
        for c in (alice, bob):
            await c.close()


async def talk(steps, alice, bob, room):
    for sender, reader, text in ((alice, bob, "secret de l'Intérieur"), (bob, alice, "secret de la Santé")):
        sent = await say(sender, room, text)
        steps.check(f"{sender.user_id} sends", isinstance(sent, nio.RoomSendResponse), sent)
        got = lambda: [t for t in reader.texts if t[0] == sender.user_id and t[1] == text]
        await until([sender, reader], got, text)
        steps.check(f"{reader.user_id} decrypts it", got()[0][2], got())


async def attach(steps, alice, bob, room):
    """An encrypted file, from one server to the other."""
    secret = os.urandom(300_000)
    answer, keys = await alice.upload(lambda *_: io.BytesIO(secret), content_type="application/pdf",
                                      filename="note.pdf", encrypt=True, filesize=len(secret))
    steps.check("alice uploads an encrypted file", isinstance(answer, nio.UploadResponse), answer)
    content = {"msgtype": "m.file", "body": "note.pdf", "file": {"url": answer.content_uri, **keys},
               "info": {"size": len(secret), "mimetype": "application/pdf"}}
    sent = await alice.room_send(room, "m.room.message", content, ignore_unverified_devices=True)
    steps.check("alice sends it", isinstance(sent, nio.RoomSendResponse), sent)
    await until([alice, bob], lambda: bob.files, "the file")
    event = bob.files[0]
    path = "/_matrix/client/v1/media/download/" + event.url.removeprefix("mxc://")
    async with bob.client_session.get(bob.homeserver + path, headers={"Authorization": f"Bearer {bob.access_token}"}) as got:
        body = await got.read()
        steps.check("bob downloads it from his server", got.status == 200, (got.status, body[:200]))
    plain = decrypt_attachment(body, event.key["k"], event.hashes["sha256"], event.iv)
    steps.check("bob decrypts the file", plain == secret, f"{len(plain)} bytes")
    for old in (path, path.replace("/client/v1/media/", "/media/v3/")):
        async with bob.client_session.get(bob.homeserver + old) as got:
            steps.check("a stranger does not get it", got.status in (401, 404), got.status)


async def refusals(steps, accounts, alice, room):
    refused = await alice.room_invite(room, accounts["eve"]["user_id"])
    status = getattr(refused, "status_code", None)
    steps.check("the policy refuses the partner's account", status == "M_FORBIDDEN", refused)
    reason = {}
    if getattr(refused, "transport_response", None) is not None:
        steps.check("the refusal is a 403", refused.transport_response.status == 403, refused.transport_response.status)
        reason = (await refused.transport_response.json()).get("org.beffroi.policy", {})
    steps.check("the refusal says why", bool(reason.get("reason")) and bool(reason.get("decision")), reason)


async def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        accounts = json.load(f)
    steps = Steps()
    try:
        await story(steps, accounts, sys.argv[2])
    except Exception as err:  # what ends the story is one more failed step
        steps.check("the story goes to its end", False, repr(err))
    print(f"{steps.passed} passed, {steps.failed} failed")
    return 1 if steps.failed or not steps.passed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
