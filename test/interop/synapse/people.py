"""Stories of accounts: what passes between servers that is no event."""

import json
import time

import olm

from client import quote, refused, until
from rooms import shared_room, story


@story
def profile(host, guest):
    room = shared_room(host, guest)
    guest.call("PUT", f"/profile/{quote(guest.id)}/displayname", {"displayname": "Élise"})
    until(lambda: (host.get_state(room, "m.room.member", guest.id) or {}).get("displayname") == "Élise", "the new name in the room")
    assert host.call("GET", f"/profile/{quote(guest.id)}")["displayname"] == "Élise"
    assert host.call("GET", f"/profile/{quote(guest.id)}/displayname") == {"displayname": "Élise"}
    refused(lambda: host.call("GET", f"/profile/{quote('@personne:' + guest.server.name)}"), "M_NOT_FOUND")


@story
def receipts(host, guest):
    room = shared_room(host, guest)
    said = host.say(room, "lu ?")
    guest.sees(room, said)
    guest.act(room, f"receipt/m.read/{quote(said)}")

    def read(answer):
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
        return [e for e in events if e["type"] == "m.receipt" and guest.id in e["content"].get(said, {}).get("m.read", {})]

    host.since = None
    host.sync_until(read, "the receipt arrives")


@story
def typing(host, guest):
    room = shared_room(host, guest)
    host.sync()

    def types(answer):
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
        return [e for e in events if e["type"] == "m.typing" and guest.id in e["content"]["user_ids"]]

    guest.call("PUT", f"/rooms/{quote(room)}/typing/{quote(guest.id)}", {"typing": True, "timeout": 20000})
    host.sync_until(types, "the guest types")


def signed(account, keys, thing):
    """Signs as the account's device does."""
    message = json.dumps(thing, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return thing | {"signatures": {account.id: {f"ed25519:{account.device}": keys.sign(message)}}}


def device_keys(account, keys):
    return signed(account, keys, {
        "user_id": account.id, "device_id": account.device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"{kind}:{account.device}": key for kind, key in keys.identity_keys.items()}})


@story
def device_lists(host, guest):
    shared_room(host, guest)
    host.sync()
    keys = olm.Account()
    guest.call("POST", "/keys/upload", {"device_keys": device_keys(guest, keys)})
    host.sync_until(lambda a: guest.id in a.get("device_lists", {}).get("changed", []), "the change of the device list")

    def devices():
        return host.call("POST", "/keys/query", {"device_keys": {guest.id: []}})["device_keys"].get(guest.id, {})

    found = until(devices, "the keys of the guest")
    assert found[guest.device]["keys"][f"ed25519:{guest.device}"] == keys.identity_keys["ed25519"], found
    host.sync()
    guest.call("PUT", f"/devices/{guest.device}", {"display_name": "Portable"})
    host.sync_until(lambda a: guest.id in a.get("device_lists", {}).get("changed", []), "the change of the name")


@story
def one_time_keys(host, guest):
    shared_room(host, guest)
    keys = olm.Account()
    keys.generate_one_time_keys(1)
    ((name, value),) = keys.one_time_keys["curve25519"].items()
    key = f"signed_curve25519:{name}"
    guest.call("POST", "/keys/upload", {"device_keys": device_keys(guest, keys),
                                        "one_time_keys": {key: signed(guest, keys, {"key": value})}})
    claimed = host.call("POST", "/keys/claim", {"one_time_keys": {guest.id: {guest.device: "signed_curve25519"}}})
    assert claimed["one_time_keys"][guest.id][guest.device][key]["key"] == value, claimed


@story
def to_device(host, guest):
    shared_room(host, guest)
    host.sync()
    guest.call("PUT", f"/sendToDevice/org.example.note/{time.monotonic_ns()}",
               {"messages": {host.id: {host.device: {"text": "pour toi"}}}})

    def notes(answer):
        return [e for e in answer.get("to_device", {}).get("events", []) if e["type"] == "org.example.note"]

    note = host.sync_until(notes, "the message to the device")[0]
    assert note["sender"] == guest.id and note["content"] == {"text": "pour toi"}, note
