"""Stories in which a server is down, or shut out."""

import json

from client import Account, Refused, agree, until
from rooms import exchange, public_room, shared_room

STORIES = []


def story(fn):
    STORIES.append(fn)
    return fn


def missed(sender, reader):
    """The reader's server is down while the sender talks in two rooms."""
    rooms = [shared_room(sender, reader), shared_room(reader, sender)]
    for room in rooms:
        exchange(room, sender, reader)
    reader.server.stop()
    said = {room: [f"manqué {i}" for i in range(40)] for room in rooms}
    for room, texts in said.items():
        for text in texts:
            sender.say(room, text)
        if room == rooms[0]:
            sender.set_state(room, "org.example.note", {"text": "manqué"})
    reader.server.start()
    for room, texts in said.items():
        exchange(room, sender, reader)
        until(lambda: [t for t in reader.messages(room) if t.startswith("manqué")] == texts, "everything that was missed, in order")
        agree(room, sender, reader)


@story
def beffroi_was_down(beffroi, synapse):
    missed(synapse, beffroi)


@story
def synapse_was_down(beffroi, synapse):
    missed(beffroi, synapse)


@story
def beffroi_rotates_its_key(beffroi, synapse):
    room = shared_room(beffroi, synapse)
    exchange(room, beffroi, synapse)
    beffroi.server.stop()
    beffroi.server.run("key", "rotate")
    beffroi.server.start()
    exchange(room, beffroi, synapse)
    other = Account(synapse.server, synapse.localpart + "-bis")
    other.join(room, via=beffroi.server)
    fresh = public_room(beffroi, "12")
    synapse.join(fresh, via=beffroi.server)
    exchange(fresh, synapse, beffroi)
    agree(room, beffroi, synapse)


@story
def the_doctor_looks_at_synapse(beffroi, synapse):
    found = json.loads(beffroi.server.run("doctor", "--federation", synapse.server.name, "--json"))
    assert not found["faults"] and found["knows_us"] and found["software"].startswith("Synapse"), found
    assert found["keys"] and all(k["signed"] for k in found["keys"].values()), found
    text = beffroi.server.run("doctor", "--federation", synapse.server.name)
    assert "Nothing keeps the servers apart." in text, text


def nothing_passes(beffroi, synapse, closed):
    """Two rooms of before; then one side closes, and opens again."""
    rooms = [shared_room(beffroi, synapse), shared_room(synapse, beffroi)]
    for room in rooms:
        exchange(room, beffroi, synapse)
    mine, theirs = public_room(beffroi, "12"), public_room(synapse, "12")
    with closed:
        lost = [(synapse, room, beffroi.say(room, "perdu")) for room in rooms]
        lost += [(beffroi, room, synapse.say(room, "perdu aussi")) for room in rooms]
        for joiner, room, host in ((synapse, mine, beffroi), (beffroi, theirs, synapse)):
            try:
                joiner.join(room, via=host.server)
            except Refused as err:
                assert err.status < 500 or joiner is synapse, err
            else:
                raise AssertionError("a join through the closed door")
        for reader, room, event in lost:
            assert reader.event(room, event) is None, "an event went through the closed door"
    for room in rooms:
        exchange(room, beffroi, synapse)


class Whitelist:
    """Synapse knows no server but itself."""

    def __init__(self, synapse):
        self.synapse = synapse

    def __enter__(self):
        self.restart([])

    def __exit__(self, *_):
        self.restart(None)

    def restart(self, whitelist):
        self.synapse.stop()
        self.synapse.configure(whitelist)
        self.synapse.start()


class Policy:
    """The policy of Beffroi does not name Synapse."""

    def __init__(self, account, synapse):
        self.account, self.beffroi, self.synapse = account, account.server, synapse

    def __enter__(self):
        self.put([])

    def __exit__(self, *_):
        self.put([self.synapse.name])

    def put(self, partners):
        self.beffroi.allow(partners)

        def in_force():  # a question to the other side is refused by the document, or no longer
            try:
                self.account.call("GET", "/publicRooms", server=self.synapse.name)
            except Refused as err:
                return ("org.beffroi.policy" in err.body) == (not partners)
            return bool(partners)

        until(in_force, "the policy is in force")


@story
def synapse_closed_by_whitelist(beffroi, synapse):
    nothing_passes(beffroi, synapse, Whitelist(synapse.server))


@story
def synapse_closed_out_by_policy(beffroi, synapse):
    nothing_passes(beffroi, synapse, Policy(beffroi, synapse.server))
