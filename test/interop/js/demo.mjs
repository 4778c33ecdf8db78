// What a client does in rooms, by matrix-js-sdk against a running demo: it logs
// in, creates, edits, reacts, threads, pages, knocks, walks through a space,
// finds by time and upgrades, within a ministry and across two. Prints a line a
// step and ends with "N passed, N failed".
import { readFileSync } from "node:fs";

const print = console.log.bind(console);
for (const level of ["trace", "debug", "log", "info", "warn"]) console[level] = () => {}; // before the SDK binds them
const sdk = await import("matrix-js-sdk");

const TIMEOUT = 30_000; // ms, for anything that is waited for
const accounts = JSON.parse(readFileSync(process.argv[2], "utf8"));
let passed = 0;
let failed = 0;

function check(name, good, detail) {
  if (good) passed++;
  else failed++;
  print(good ? `ok    ${name}` : `FAIL  ${name}: ${JSON.stringify(detail)}`);
}

// until waits until fn returns something true.
async function until(what, fn) {
  for (const end = Date.now() + TIMEOUT; Date.now() < end; await new Promise((r) => setTimeout(r, 50))) {
    const found = await fn();
    if (found) return found;
  }
  throw new Error(`waited in vain for ${what}`);
}

async function login(name) {
  const { url, user_id, password } = accounts[name];
  const guest = sdk.createClient({ baseUrl: url });
  const session = await guest.loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: user_id },
    password,
  });
  const client = sdk.createClient({
    baseUrl: url,
    userId: session.user_id,
    deviceId: session.device_id,
    accessToken: session.access_token,
    timelineSupport: true,
  });
  // Without its threads: it takes a thread's event that its sync brings before the answer to its sending for one
  // that was not sent, and either may come first.
  await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, threadSupport: false });
  await until("the first sync", () => client.isInitialSyncComplete());
  check(`${session.user_id} logs in and syncs`, client.isLoggedIn());
  return client;
}

const text = (body, more) => ({ msgtype: "m.text", body, ...more });
const received = (client, room, id) =>
  until(`event ${id}`, () => client.getRoom(room)?.findEventById(id));

async function talk(alice, anna, bob) {
  const name = `pub${Date.now()}`;
  const { room_id: room } = await alice.createRoom({
    preset: "public_chat", room_version: "11", name: "Pub", topic: "Bière", room_alias_name: name,
  });
  const alias = `#${name}:${alice.getDomain()}`;
  check("an alias leads to the room", (await anna.getRoomIdForAlias(alias)).room_id === room);
  await anna.joinRoom(alias);
  await bob.joinRoom(alias);
  await until("bob's room", () => bob.getRoom(room)?.getMyMembership() === "join");
  check("the name is told", bob.getRoom(room).name === "Pub", bob.getRoom(room).name);

  const { event_id: first } = await alice.sendEvent(room, "m.room.message", text("bonjour"));
  await received(bob, room, first);
  check("a message goes to another ministry", true);
  await alice.sendEvent(room, "m.room.message", text("* salut", {
    "m.new_content": text("salut"), "m.relates_to": { rel_type: "m.replace", event_id: first } }));
  const edited = await until("the edit", () => bob.getRoom(room).findEventById(first)?.replacingEvent());
  check("an edit is applied", edited.getContent()["m.new_content"].body === "salut", edited.getContent());
  const fetched = await anna.fetchRoomEvent(room, first);
  check("an edit is told with its event", fetched.unsigned["m.relations"]["m.replace"].content["m.new_content"].body === "salut", fetched);

  const { event_id: reaction } = await anna.sendEvent(room, "m.reaction", {
    "m.relates_to": { rel_type: "m.annotation", event_id: first, key: "👍" } });
  await received(alice, room, reaction);
  const { events } = await alice.relations(room, first, "m.annotation", "m.reaction");
  check("a reaction relates to its event", events.some((e) => e.getId() === reaction), events.length);

  const { event_id: reply } = await anna.sendEvent(room, first, "m.room.message", text("dans le fil"));
  const threaded = await until("the thread", async () => {
    const root = await alice.fetchRoomEvent(room, first);
    return root.unsigned?.["m.relations"]?.["m.thread"];
  });
  check("a thread is told with its root", threaded.count === 1 && threaded.latest_event.event_id === reply, threaded);
  await page(alice, anna, room);
  return { room, first };
}

async function page(alice, anna, room) {
  for (let i = 0; i < 25; i++) await alice.sendEvent(room, "m.room.message", text(`page ${i}`));
  const seen = new Set();
  for (let from = null, n = 0; n < 20; n++) {
    const answer = await anna.createMessagesRequest(room, from, 10, sdk.Direction.Backward);
    answer.chunk.forEach((e) => seen.add(e.event_id));
    if (!answer.end) break;
    from = answer.end;
  }
  const { chunk } = await anna.createMessagesRequest(room, null, 100, sdk.Direction.Backward);
  check("pages have all that one answer has", chunk.length > 35 && chunk.every((e) => seen.has(e.event_id)), [seen.size, chunk.length]);
  const { chunk: members } = await anna.members(room, undefined, "leave");
  const joined = await anna.getJoinedRoomMembers(room);
  check("the members are told", members.length === 3 && Object.keys(joined.joined).length === 3, members);
}

async function knock(alice, anna) {
  const { room_id: room } = await alice.createRoom({
    preset: "private_chat", name: "Sur demande",
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
  });
  await anna.knockRoom(room, { reason: "toc toc" });
  await until("the knock", () => alice.getRoom(room)?.getMember(anna.getUserId())?.membership === "knock");
  check("a knock is heard", true);
  await alice.invite(room, anna.getUserId());
  await until("the invitation", () => anna.getRoom(room)?.getMyMembership() === "invite");
  await anna.joinRoom(room);
  await until("the join", () => anna.getRoom(room)?.getMyMembership() === "join");
  check("who knocked comes in when invited", true);
  return room;
}

async function space(alice, bob, room) {
  const { room_id: root } = await alice.createRoom({
    preset: "public_chat", name: "Espace", creation_content: { type: "m.space" },
    initial_state: [{ type: "m.space.child", state_key: room, content: { via: [alice.getDomain()], suggested: true } }],
  });
  for (const client of [alice, bob]) {
    if (client === bob) await bob.joinRoom(root, { viaServers: [alice.getDomain()] });
    const { rooms } = await client.getRoomHierarchy(root, 10, 2);
    check(`${client.getUserId()} walks through a space`, rooms.length === 2 && rooms[0].room_id === root &&
      rooms[0].children_state[0].state_key === room && rooms[1].name === "Pub", rooms);
  }
  const summary = await bob.getRoomSummary(room, [alice.getDomain()]);
  check("a room is summed up", summary.room_id === room && summary.membership === "join" && summary.num_joined_members === 3, summary);
}

async function upgrade(alice, anna, { room, first }) {
  const found = await anna.timestampToEvent(room, 0, sdk.Direction.Forward);
  const create = alice.getRoom(room).currentState.getStateEvents("m.room.create", "");
  check("the first event is found by time", found.event_id === create.getId(), found);
  await alice.setRoomTag(room, "m.favourite", { order: 0.5 });
  const { replacement_room: next } = await alice.upgradeRoom(room, "12");
  const old = await until("the tombstone", () => {
    const e = anna.getRoom(room).currentState.getStateEvents("m.room.tombstone", "");
    return e?.getContent().replacement_room === next && anna.getRoom(room);
  });
  await anna.joinRoom(next);
  const fresh = await until("the new room", () => anna.getRoom(next)?.name === "Pub" && anna.getRoom(next));
  const predecessor = fresh.findPredecessor();
  check("a room is replaced", fresh.getVersion() === "12" && predecessor.roomId === room, predecessor);
  check("the old room stays readable", old.findEventById(first) !== undefined || (await anna.fetchRoomEvent(room, first)).event_id === first);
  const { tags } = await alice.getRoomTags(next);
  check("tags come along", tags["m.favourite"]?.order === 0.5, tags);
}

const clients = [];
try {
  for (const name of ["alice", "anna", "bob"]) clients.push(await login(name));
  const [alice, anna, bob] = clients;
  const pub = await talk(alice, anna, bob);
  await knock(alice, anna);
  await space(alice, bob, pub.room);
  await upgrade(alice, anna, pub);
} catch (error) {
  check("no exception", false, String(error?.stack ?? error));
} finally {
  for (const client of clients) client.stopClient();
}
print(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
