"""Stories of rooms. Each is played in both directions: host is an account of
one server, guest of the other."""

import time

from client import agree, quote, refused, until

STORIES = []


def story(fn):
    STORIES.append(fn)
    return fn


def public_room(host, version, **more):
    return host.create(preset="public_chat", room_version=version, name="Salle", **more)


def shared_room(host, guest, version="12", **more):
    """A public room that both are in."""
    room = public_room(host, version, **more)
    guest.join(room, via=host.server)
    until(lambda: host.membership(room, guest) == "join", "the host sees the join")
    return room


def exchange(room, *accounts):
    """Everybody says something that everybody sees."""
    for speaker in accounts:
        sent = speaker.say(room, f"parole de {speaker.localpart}")
        for reader in accounts:
            reader.sees(room, sent)


def joins(version):
    def join(host, guest):
        alias = f"salle{version}-{host.localpart}"
        room = public_room(host, version, room_alias_name=alias)
        assert guest.join(f"#{alias}:{host.server.name}") == room
        exchange(room, host, guest)
        agree(room, host, guest)
        guest.act(room, "leave")
        until(lambda: host.membership(room, guest) == "leave", "the host sees the guest leave")
        guest.join(room, via=host.server)
        exchange(room, guest, host)
        agree(room, host, guest)

    join.__name__ = f"join_v{version}"
    return join


for v in ("1", "5", "6", "8", "9", "10", "11", "12"):
    story(joins(v))


def invites(version):
    def invite(host, guest):
        room = host.create(preset="private_chat", room_version=version)
        host.act(room, "invite", user_id=guest.id)
        until(lambda: guest.invited(room), "the invitation arrives")
        guest.join(room)
        exchange(room, host, guest)
        agree(room, host, guest)

    invite.__name__ = f"invite_v{version}"
    return invite


for v in ("10", "11", "12"):
    story(invites(v))


@story
def invite_of_direct_chat(host, guest):
    room = host.create(preset="trusted_private_chat", is_direct=True, invite=[guest.id])
    until(lambda: guest.invited(room), "the invitation arrives")
    stripped = guest.rooms("invite")[room]["invite_state"]["events"]
    mine = [e for e in stripped if e["type"] == "m.room.member" and e["state_key"] == guest.id]
    assert mine and mine[0]["content"].get("is_direct"), stripped
    assert {"m.room.create", "m.room.join_rules"} <= {e["type"] for e in stripped}, stripped
    guest.join(room)
    exchange(room, host, guest)
    agree(room, host, guest)


@story
def invite_refused(host, guest):
    room = host.create(preset="private_chat")
    host.act(room, "invite", user_id=guest.id)
    until(lambda: guest.invited(room), "the invitation arrives")
    guest.act(room, "leave")
    until(lambda: host.membership(room, guest) == "leave", "the host sees the refusal")
    host.act(room, "invite", user_id=guest.id)
    until(lambda: guest.invited(room), "the second invitation arrives")
    guest.join(room)
    exchange(room, host, guest)


@story
def invite_taken_back(host, guest):
    room = host.create(preset="private_chat")
    host.act(room, "invite", user_id=guest.id)
    until(lambda: guest.invited(room), "the invitation arrives")
    host.act(room, "kick", user_id=guest.id)
    until(lambda: not guest.invited(room), "the invitation goes")
    refused(lambda: guest.join(room, via=host.server), "M_FORBIDDEN")


@story
def knock(host, guest):
    room = host.create(preset="private_chat", room_version="10", name="Porte",
                       initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}])
    refused(lambda: guest.join(room, via=host.server), "M_FORBIDDEN")
    guest.call("POST", f"/knock/{quote(room)}", {"reason": "toc toc"}, server_name=host.server.name, via=host.server.name)
    until(lambda: host.membership(room, guest) == "knock", "the host hears the knock")
    knocked = guest.rooms("knock")
    assert room in knocked, knocked
    types = {e["type"] for e in knocked[room]["knock_state"]["events"]}
    assert "m.room.name" in types, types
    host.act(room, "invite", user_id=guest.id)
    until(lambda: guest.invited(room), "the door opens")
    guest.join(room)
    exchange(room, host, guest)
    agree(room, host, guest)


@story
def knock_taken_back(host, guest):
    room = host.create(preset="private_chat", room_version="11",
                       initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}])
    knock_at = lambda: guest.call("POST", f"/knock/{quote(room)}", {}, server_name=host.server.name, via=host.server.name)
    knock_at()
    until(lambda: host.membership(room, guest) == "knock", "the host hears the knock")
    if guest.server.label == "beffroi":  # Synapse tells nobody of it, as between two of them
        guest.act(room, "leave")
        until(lambda: host.membership(room, guest) == "leave", "the host hears that it is taken back")
        knock_at()
        until(lambda: host.membership(room, guest) == "knock", "the host hears the second knock")
    host.act(room, "kick", user_id=guest.id)
    until(lambda: host.membership(room, guest) == "leave", "the knock is refused")


def restricted(version):
    def restricted_join(host, guest):
        lobby = public_room(host, version)
        room = host.create(preset="private_chat", room_version=version, initial_state=[{
            "type": "m.room.join_rules", "state_key": "", "content": {
                "join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": lobby}]}}])
        refused(lambda: guest.join(room, via=host.server), "M_FORBIDDEN")
        guest.join(lobby, via=host.server)
        until(lambda: host.membership(lobby, guest) == "join", "the guest is in the lobby")
        guest.join(room, via=host.server)
        until(lambda: host.membership(room, guest) == "join", "the guest is in the room")
        member = host.state(room)[("m.room.member", guest.id)]
        assert member["content"].get("join_authorised_via_users_server") == host.id, member
        exchange(room, host, guest)
        agree(room, host, guest)

    restricted_join.__name__ = f"restricted_join_v{version}"
    return restricted_join


for v in ("8", "10", "12"):
    story(restricted(v))


@story
def redactions(host, guest):
    for version in ("10", "12"):
        room = shared_room(host, guest, version)
        mine, theirs = host.say(room, "faux"), guest.say(room, "fausse")
        host.sees(room, theirs), guest.sees(room, mine)
        for who, target in ((host, theirs), (guest, guest.say(room, "retiré par moi"))):
            for reader in (host, guest):
                reader.sees(room, target)
            who.call("PUT", f"/rooms/{quote(room)}/redact/{quote(target)}/{time.monotonic_ns()}", {"reason": "oubli"})
            for reader in (host, guest):
                until(lambda: "body" not in reader.event(room, target)["content"], f"{reader.id} sees the redaction")
        refused(lambda: guest.call("PUT", f"/rooms/{quote(room)}/redact/{quote(mine)}/{time.monotonic_ns()}", {}), "M_FORBIDDEN")
        agree(room, host, guest)


@story
def power_levels(host, guest):
    for version in ("9", "10", "12"):
        room = shared_room(host, guest, version)
        refused(lambda: guest.set_state(room, "m.room.topic", {"topic": "moi"}), "M_FORBIDDEN")
        levels = host.get_state(room, "m.room.power_levels")
        levels.setdefault("users", {})[guest.id] = 50
        levels.setdefault("events", {})["m.room.topic"] = 50
        host.set_state(room, "m.room.power_levels", levels)
        until(lambda: (guest.get_state(room, "m.room.power_levels") or {})["users"].get(guest.id) == 50, "the guest has power")
        guest.set_state(room, "m.room.topic", {"topic": "à moi"})
        until(lambda: (host.get_state(room, "m.room.topic") or {}).get("topic") == "à moi", "the host sees the topic")
        agree(room, host, guest)


@story
def kick_and_ban(host, guest):
    room = shared_room(host, guest)
    host.act(room, "kick", user_id=guest.id, reason="dehors")
    until(lambda: not guest.joined(room), "the guest is out")
    refused(lambda: guest.say(room, "encore"), "M_FORBIDDEN")
    guest.join(room, via=host.server)
    exchange(room, host, guest)
    host.act(room, "ban", user_id=guest.id)
    until(lambda: not guest.joined(room), "the guest is banned")
    refused(lambda: guest.join(room, via=host.server), "M_FORBIDDEN")
    host.act(room, "unban", user_id=guest.id)
    guest.join(room, via=host.server)
    exchange(room, host, guest)
    agree(room, host, guest)


@story
def server_acl(host, guest):
    room = shared_room(host, guest, version="11")
    exchange(room, host, guest)
    host.set_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["localhost"], "allow_ip_literals": True})
    until(lambda: guest.get_state(room, "m.room.server_acl"), "the guest sees the ACL")
    lost = guest.say(room, "derrière le mur")
    marker = shared_room(host, guest)  # what comes later in another room shows that the first had its turn
    exchange(marker, guest, host)
    assert host.event(room, lost) is None, "an event of a server that is shut out"


@story
def history_is_backfilled(host, guest):
    room = public_room(host, "12")
    for i in range(60):
        host.say(room, f"avant {i}")
    guest.join(room, via=host.server)
    want = [f"avant {i}" for i in range(60)]
    until(lambda: guest.messages(room, limit=20) == want, "the whole history, in order")


@story
def history_before_the_join_is_hidden(host, guest):
    room = host.create(preset="private_chat", initial_state=[
        {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}])
    hidden = host.say(room, "entre nous")
    host.act(room, "invite", user_id=guest.id)
    until(lambda: guest.invited(room), "the invitation arrives")
    guest.join(room)
    exchange(room, host, guest)
    assert guest.event(room, hidden) is None, "what was said before"
    assert "entre nous" not in guest.messages(room)


@story
def last_local_member_leaves_and_returns(host, guest):
    room = shared_room(host, guest)
    exchange(room, host, guest)
    guest.act(room, "leave")
    until(lambda: host.membership(room, guest) == "leave", "the host sees the leave")
    host.set_state(room, "m.room.topic", {"topic": "changé"})
    missed = [f"sans toi {i}" for i in range(15)]
    for text in missed:
        host.say(room, text)
    guest.join(room, via=host.server)
    until(lambda: host.membership(room, guest) == "join", "the host sees the return")
    agree(room, host, guest)
    assert guest.get_state(room, "m.room.topic") == {"topic": "changé"}
    exchange(room, guest, host)
    until(lambda: [t for t in guest.messages(room) if t in missed] == missed, "what was said without the guest, in order")


@story
def host_leaves_the_room_to_the_guest(host, guest):
    room = shared_room(host, guest)
    host.act(room, "leave")
    until(lambda: guest.membership(room, host) == "leave", "the guest sees the host leave")
    guest.say(room, "seul")
    host.join(room, via=guest.server)
    exchange(room, host, guest)
    agree(room, host, guest)


@story
def concurrent_events_merge(host, guest):
    room = shared_room(host, guest)
    levels = host.get_state(room, "m.room.power_levels")
    levels.setdefault("users", {})[guest.id] = 100
    host.set_state(room, "m.room.power_levels", levels)
    until(lambda: guest.get_state(room, "m.room.power_levels")["users"].get(guest.id) == 100, "the guest has power")
    for i in range(10):
        host.set_state(room, "m.room.topic", {"topic": f"host {i}"})
        guest.set_state(room, "m.room.topic", {"topic": f"guest {i}"})
        host.say(room, f"host {i}")
        guest.say(room, f"guest {i}")
    exchange(room, host, guest)
    agree(room, host, guest)
    assert sorted(host.messages(room)) == sorted(guest.messages(room))


@story
def alias_and_public_list(host, guest):
    name = f"annuaire-{host.localpart}"
    room = public_room(host, "12", room_alias_name=name, topic="Un sujet")
    host.call("PUT", f"/directory/list/room/{quote(room)}", {"visibility": "public"})
    found = guest.call("GET", f"/directory/room/{quote(f'#{name}:{host.server.name}')}")
    assert found["room_id"] == room and host.server.name in found["servers"], found
    for answer in (guest.call("GET", "/publicRooms", server=host.server.name),
                   guest.call("POST", "/publicRooms", {"filter": {"generic_search_term": "Salle"}}, server=host.server.name)):
        entry = [r for r in answer["chunk"] if r["room_id"] == room]
        assert entry and entry[0]["topic"] == "Un sujet" and entry[0]["num_joined_members"] == 1, answer
    refused(lambda: guest.call("GET", f"/directory/room/{quote(f'#rien:{host.server.name}')}"), "M_NOT_FOUND")


@story
def upgrade(host, guest):
    room = shared_room(host, guest, "10")
    new = host.call("POST", f"/rooms/{quote(room)}/upgrade", {"new_version": "12"})["replacement_room"]
    until(lambda: (guest.get_state(room, "m.room.tombstone") or {}).get("replacement_room") == new, "the tombstone arrives")
    guest.join(new, via=host.server)
    exchange(new, host, guest)
    agree(new, host, guest)


@story
def unknown_room(host, guest):
    refused(lambda: guest.join(f"!rien:{host.server.name}", via=host.server), "M_NOT_FOUND", "M_FORBIDDEN", "M_UNKNOWN")
    refused(lambda: guest.join(f"#rien:{host.server.name}"), "M_NOT_FOUND")
