"""What the stories need of the client-server API, and nothing else."""

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from servers import SECRET

TIMEOUT = 30  # seconds, for anything that is waited for


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body
        self.errcode = body.get("errcode") if isinstance(body, dict) else None


def request(url, method, body=None, token=None, timeout=90):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=timeout) as r:
            return json.loads(r.read())
    except urllib.error.HTTPError as err:
        raw = err.read()
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = {"raw": raw[:200].decode(errors="replace")}
        raise Refused(err.code, answer) from None


def until(condition, what):
    """Waits until a condition holds, and returns what it returned."""
    end = time.monotonic() + TIMEOUT
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)


def quote(text):
    return urllib.parse.quote(text, safe="")


class Account:
    """One account, logged in."""

    def __init__(self, server, localpart):
        self.server, self.localpart, self.password = server, localpart, "secret-" + localpart
        register = server.url + "/_synapse/admin/v1/register"
        nonce = request(register, "GET")["nonce"]
        mac = hmac.new(SECRET.encode(), digestmod=hashlib.sha1)
        mac.update(b"\x00".join(s.encode() for s in (nonce, localpart, self.password, "notadmin")))
        answer = request(register, "POST", {"nonce": nonce, "username": localpart, "password": self.password,
                                            "admin": False, "mac": mac.hexdigest()})
        self.id, self.token, self.device = answer["user_id"], answer["access_token"], answer["device_id"]
        self.since = None

    def call(self, method, path, body=None, **query):
        url = self.server.url + "/_matrix/client/v3" + path
        if query:
            url += "?" + urllib.parse.urlencode(query, doseq=True)
        if body is None and method != "GET":
            body = {}
        return request(url, method, body, self.token)

    def create(self, **options):
        return self.call("POST", "/createRoom", options)["room_id"]

    def join(self, room, via=None):
        query = {"server_name": via.name, "via": via.name} if via else {}
        return self.call("POST", f"/join/{quote(room)}", **query)["room_id"]

    def act(self, room, action, **body):
        return self.call("POST", f"/rooms/{quote(room)}/{action}", body)

    def say(self, room, text):
        return self.send(room, "m.room.message", {"msgtype": "m.text", "body": text})

    def send(self, room, kind, content):
        return self.call("PUT", f"/rooms/{quote(room)}/send/{kind}/{uuid.uuid4().hex}", content)["event_id"]

    def set_state(self, room, kind, content, key=""):
        return self.call("PUT", f"/rooms/{quote(room)}/state/{kind}/{quote(key)}", content)["event_id"]

    def get_state(self, room, kind, key=""):
        """The content of a state event, or None."""
        try:
            return self.call("GET", f"/rooms/{quote(room)}/state/{kind}/{quote(key)}")
        except Refused as err:
            if err.status not in (403, 404):
                raise
            return None

    def state(self, room):
        """The whole state: (type, key) to event."""
        return {(e["type"], e["state_key"]): e for e in self.call("GET", f"/rooms/{quote(room)}/state")}

    def membership(self, room, who):
        return (self.get_state(room, "m.room.member", who.id) or {}).get("membership")

    def messages(self, room, limit=100):
        """The texts of the room, oldest first, back to its beginning."""
        texts, token = [], None
        while True:
            query = {"dir": "b", "limit": limit}
            if token:
                query["from"] = token
            page = self.call("GET", f"/rooms/{quote(room)}/messages", **query)
            texts += [e["content"]["body"] for e in page["chunk"] if e["type"] == "m.room.message" and "body" in e["content"]]
            token = page.get("end")
            if not token:
                return texts[::-1]

    def event(self, room, event):
        try:
            return self.call("GET", f"/rooms/{quote(room)}/event/{quote(event)}")
        except Refused as err:
            if err.status not in (403, 404):
                raise
            return None

    def sync(self, timeout=0):
        query = {"timeout": timeout}
        if self.since:
            query["since"] = self.since
        answer = self.call("GET", "/sync", **query)
        self.since = answer["next_batch"]
        return answer

    def sync_until(self, condition, what):
        """Syncs on until an answer has something, and returns that."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            found = condition(self.sync(500))
            if found:
                return found
        raise TimeoutError(what)

    def sees(self, room, event):
        return until(lambda: self.event(room, event), f"{self.id} sees {event}")

    def rooms(self, kind):
        """The rooms of a first sync in which the account is invited, or knocks."""
        return self.call("GET", "/sync", timeout=0).get("rooms", {}).get(kind, {})

    def invited(self, room):
        return room in self.rooms("invite")

    def joined(self, room):
        return room in self.call("GET", "/joined_rooms")["joined_rooms"]


def agree(room, *accounts):
    """Waits until the servers of the accounts have the same state."""

    def same():
        states = [{k: e["event_id"] for k, e in a.state(room).items()} for a in accounts]
        return all(s == states[0] for s in states)

    try:
        until(same, "the same state everywhere")
    except TimeoutError:
        states = [{k: e["event_id"] for k, e in a.state(room).items()} for a in accounts]
        differ = {k for s in states for k in s if any(o.get(k) != s[k] for o in states)}
        raise TimeoutError(f"states differ in {sorted(differ)}") from None


def refused(call, *codes):
    """Asserts that a call is refused with one of the codes."""
    try:
        answer = call()
    except Refused as err:
        assert err.errcode in codes, f"refused with {err}, want {codes}"
        return err
    raise AssertionError(f"not refused: {answer}")
