// All that the page keeps, in IndexedDB. Nothing in here is shown before it is written.
import { openDB } from "./idb.js";

const STORES = ["facts", "tickets", "superseded", "moves", "queue", "conflicts"];
let opened;

function open() {
  opened ??= openDB("ticksy-gate", 1, {
    upgrade(db) {
      // By name: `secret`, `device`, `gate`, `muted`, `camera`, `manifest`, `cursor`.
      db.createObjectStore("facts");
      // The manifest's: {id, rotation, state, type, code}.
      const tickets = db.createObjectStore("tickets", { keyPath: "id" });
      tickets.createIndex("code", "code");
      tickets.createIndex("kind", ["type", "state"]);
      // Codes that tickets had before they were issued anew: {code, ticket}.
      db.createObjectStore("superseded", { keyPath: "code" });
      // What this device did since the manifest was read: {ticket, state, at, gate, type}.
      db.createObjectStore("moves", { keyPath: "ticket" });
      // Scans that the server has not answered: as they are sent, and {event, ticket, type, decided, undo, before}.
      const queue = db.createObjectStore("queue", { keyPath: "nonce" });
      queue.createIndex("ticket", "ticket");
      queue.createIndex("asked", "asked"); // of those that nobody has decided yet
      queue.createIndex("untold", "untold"); // of those that this device decided: [event, scanned_at]
      // What a person has to look at: {nonce, at, word, message}.
      db.createObjectStore("conflicts", { keyPath: "nonce" });
    },
    blocking: () => location.reload(), // a newer page wants another layout
  });
  return opened;
}

export const get = async (name) => (await open()).get("facts", name);
export const put = async (name, value) => (await open()).put("facts", value, name);
export const all = async (store) => (await open()).getAll(store);
export const find = async (store, key) => (await open()).get(store, key);
export const remove = async (store, key) => (await open()).delete(store, key);
export const keepConflict = async (conflict) => (await open()).put("conflicts", conflict);

// Forget the pass and all that came with it, but for what the server has not been told.
export async function wipe() {
  const change = (await open()).transaction(STORES, "readwrite");
  const [facts, tickets, superseded, moves, queue, conflicts] = STORES.map((name) => change.objectStore(name));
  tickets.clear();
  superseded.clear();
  conflicts.clear();
  for (const name of ["secret", "manifest", "cursor", "gate"]) facts.delete(name);
  const untold = new Set((await queue.getAll()).map((one) => one.ticket));
  for (const ticket of await moves.getAllKeys()) if (!untold.has(ticket)) moves.delete(ticket);
  await change.done;
}

// ── Tickets ──────────────────────────────────────────────────────────────────────────────────────────────────────

// A page of the manifest that was asked for at `asked`: what this device did before that, and told, is in it.
export async function keepTickets(rows, superseded, asked) {
  const change = (await open()).transaction(["tickets", "superseded", "moves", "queue"], "readwrite");
  const tickets = change.objectStore("tickets");
  for (const [id, rotation, state, type, code] of rows) tickets.put({ id, rotation, state, type, code });
  for (const [ticket, code] of superseded) change.objectStore("superseded").put({ code, ticket });
  const untold = new Set((await change.objectStore("queue").getAll()).map((one) => one.ticket));
  const told = new Set(rows.map(([id]) => id));
  for (const { ticket, at } of await change.objectStore("moves").getAll()) {
    if (told.has(ticket) && at < asked && !untold.has(ticket)) change.objectStore("moves").delete(ticket);
  }
  await change.done;
}

// The ticket that has a code, or had it: {id, type, isSuperseded}. Nothing where there is none.
export async function findByCode(code) {
  const db = await open();
  const row = await db.getFromIndex("tickets", "code", code);
  if (row) return { id: row.id, type: row.type, isSuperseded: false };
  const old = await db.get("superseded", code);
  return old && { id: old.ticket, type: (await db.get("tickets", old.ticket))?.type, isSuperseded: true };
}

// Its row in the manifest, and what this device did with it since.
export async function findTicket(id) {
  const db = await open();
  const [row, move] = await Promise.all([db.get("tickets", id), db.get("moves", id)]);
  return { row, move, state: move?.state ?? row?.state ?? "valid" };
}

// By type: how many tickets are good, whose holders came in, and how many of those are out.
export async function count(types) {
  const change = (await open()).transaction(["tickets", "moves"]);
  const kinds = change.objectStore("tickets").index("kind");
  const number = (type, state) => kinds.count([type, state]);
  const counted = new Map();
  for (const { id, name } of types) {
    const [valid, inside, out] = await Promise.all(["valid", "in", "out"].map((state) => number(id, state)));
    counted.set(id, { name, tickets: valid + inside + out, in: inside + out, out });
  }
  const moves = await change.objectStore("moves").getAll();
  const rows = await Promise.all(moves.map((move) => change.objectStore("tickets").get(move.ticket)));
  for (const [place, move] of moves.entries()) {
    const row = rows[place];
    const one = counted.get(move.type);
    if (!one) continue;
    const was = row?.state ?? "valid";
    if (!row) one.tickets += 1;
    one.in += (move.state === "valid" ? 0 : 1) - (was === "in" || was === "out" ? 1 : 0);
    one.out += (move.state === "out" ? 1 : 0) - (was === "out" ? 1 : 0);
  }
  return [...counted.values()].map((one) => ({ ...one, inside: one.in - one.out }));
}

// ── Scans ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const askedAs = ({ event, direction, token, code }) => [event, direction, token ?? "", code ?? ""];

// A scan, and where it leaves its ticket, both or neither.
export async function keepScan(scan, move) {
  const { asked: _, untold: __, ...facts } = scan;
  const key = scan.decided ? { untold: [scan.event, scan.scanned_at] } : { asked: askedAs(scan) };
  const change = (await open()).transaction(["queue", "moves"], "readwrite");
  change.objectStore("queue").put({ ...facts, ...key });
  if (move) change.objectStore("moves").put(move);
  await change.done;
}

// It is answered: nothing more has to be told.
export async function settleScan(nonce, move) {
  const change = (await open()).transaction(["queue", "moves"], "readwrite");
  change.objectStore("queue").delete(nonce);
  if (move) change.objectStore("moves").put(move);
  await change.done;
}

// One that was cut short before there was an answer, like this one.
export async function findAsked(scan) {
  return (await open()).getFromIndex("queue", "asked", askedAs(scan));
}

// The oldest of an event's that are decided and not told.
export async function untold(event, most) {
  const ofEvent = IDBKeyRange.bound([event], [event, []]);
  return (await open()).getAllFromIndex("queue", "untold", ofEvent, most);
}

export async function countUntold() {
  return (await open()).countFromIndex("queue", "untold");
}

export async function isUntold(ticket) {
  const scans = ticket === null ? [] : await (await open()).getAllFromIndex("queue", "ticket", ticket);
  return scans.some((one) => one.decided);
}
