// One device at a gate: what it scans, with the server or without it, and what it still has to tell. It tells of each
// change with an event named `changed`.
import { call, now, PassEnded, Refused, Unreachable } from "./api.js";
import { judge } from "./judge.js";
import * as store from "./store.js";
import { hashCode, isSigned, looksLikeToken, parseToken } from "./ticket.js";
import { SCANS, sent, uploads } from "./uploads.js";
import { describe } from "./words.js";

// No ticket's QR code is longer: of anything else the beginning says enough.
const MOST_LETTERS = 200;
const PAGE_MS = 20_000;
const RECENT = 20;
const REFRESH_MS = 30_000;
const COUNT_MS = 10_000;
// A scan that was cut short, by a battery maybe, is the same scan when it is made again within this time.
const LEFT_MS = 10 * 60_000;

export class Gate extends EventTarget {
  secret = null;
  manifest = null; // {event, gate_pass, opens_at, closes_at, keys, ticket_types}
  cursor = null; // null until all tickets are here
  gate = null;
  device = null;
  reachable = true;
  ended = null; // why the pass does not work any more
  counts = [];
  pending = 0; // scans that wait to be sent
  conflicts = [];
  recent = []; // newest first; kept in memory only, since they have names

  #flushing = null;
  #refreshing = null;
  #refreshedAt = 0;
  #countedAt = 0;
  #etag = null;

  async open(secret) {
    await Promise.all([this.#flushing, this.#refreshing]); // of the pass before
    const known = await store.get("secret");
    if (secret && secret !== known) {
      await store.wipe();
      await store.put("secret", secret);
    }
    this.secret = secret ?? known ?? null;
    this.ended = this.#etag = null;
    this.#refreshedAt = this.#countedAt = 0;
    this.device = (await store.get("device")) ?? `Phone ${crypto.randomUUID().slice(0, 4).toUpperCase()}`;
    await store.put("device", this.device);
    this.manifest = (await store.get("manifest")) ?? null;
    this.cursor = (await store.get("cursor")) ?? null;
    this.gate = (await store.get("gate")) ?? null;
    for (const one of await store.all("queue")) {
      if (!one.decided && now() - Date.parse(one.scanned_at) > LEFT_MS) await store.remove("queue", one.nonce);
    }
    await this.#changed();
  }

  async choose(gate) {
    this.gate = gate || null;
    await store.put("gate", this.gate);
  }

  // ── Scanning ───────────────────────────────────────────────────────────────────────────────────────────────────

  // `held` is {token} or {code}. What comes back is to be shown: {kind, word, sentence, answer, scan, at}.
  async scan(held, direction) {
    const read = await this.#read(held);
    const known = read.id === null ? {} : await store.findTicket(read.id);
    const scan = await this.#begin(held, read, direction, known);
    const answer = (await this.#ask(scan, known)) ?? (await this.#decide(scan, read, known));
    const said = describe(answer.result, direction);
    const shown = { ...said, sentence: answer.message ?? said.sentence, answer, scan, at: Date.now() };
    this.recent = [shown, ...this.recent].slice(0, RECENT);
    this.#countedAt = 0;
    await this.#changed();
    return shown;
  }

  async #read({ token, code }) {
    const { event, keys } = this.manifest;
    if (token === undefined) {
      const found = await store.findByCode(await hashCode(event.id, code));
      // Of a code its ticket had once, no rotation is known; it is lower than the ticket's.
      return { id: found?.id ?? null, type: found?.type, rotation: found?.isSuperseded ? 0 : null, isSigned: false };
    }
    const parsed = parseToken(token.trim());
    const refused = (refusal) => ({ refusal, id: null });
    if (!parsed) return refused("unknown");
    if (parsed.event !== event.id) return refused("wrong_event");
    if (!(await isSigned(parsed, keys))) return refused("bad_signature");
    return { id: parsed.ticket, type: parsed.type, rotation: parsed.rotation, isSigned: true };
  }

  // Written down before anybody is asked: what is lost on the way is asked again under the same nonce.
  async #begin({ token, code }, read, direction, known) {
    const what = token === undefined ? { code } : { token: token.slice(0, MOST_LETTERS) };
    const named = { event: this.manifest.event.id, ...what, direction };
    const scan = (await store.findAsked(named)) ?? {
      nonce: crypto.randomUUID(),
      ...named,
      scanned_at: new Date(now()).toISOString(),
    };
    const type = known.row?.type ?? read.type ?? null;
    Object.assign(scan, { gate: this.gate, device: this.device, ticket: read.id, type, before: known.state ?? null });
    scan.decided = null;
    await store.keepScan(scan);
    return scan;
  }

  // The server's answer; null where it cannot be had in time, or knows less than this device does.
  async #ask(scan, known) {
    if (!this.reachable || (await store.isUntold(scan.ticket))) return null;
    const { scanned_at: _, ...asked } = sent(scan); // by the server's clock
    try {
      const { told } = await call(this.secret, SCANS, { body: { scans: [{ ...asked, offline: false }] } });
      const [answer] = told.results;
      scan.ticket = answer.ticket_id;
      scan.before ??= known.state ?? "valid";
      await store.settleScan(scan.nonce, moveOf(scan, answer.result));
      return answer;
    } catch (error) {
      if (error instanceof Refused) {
        await store.settleScan(scan.nonce);
        return { result: "unknown", message: error.message };
      }
      await this.#fail(error);
      if (error instanceof PassEnded) throw error;
      return null;
    }
  }

  async #decide(scan, read, { row, move, state }) {
    const at = Date.parse(scan.scanned_at);
    const result = judge({ manifest: this.manifest, read, row, state, direction: scan.direction, at });
    scan.decided = result;
    await store.keepScan(scan, moveOf(scan, result));
    const type = this.manifest.ticket_types.find((one) => one.id === scan.type);
    const isRead = read.id !== null;
    return {
      result,
      ticket_id: read.id,
      ticket_type: isRead ? type?.name ?? null : null,
      used_at: isRead && state !== "valid" ? move?.at ?? null : null,
      used_gate: isRead && state !== "valid" ? move?.gate ?? null : null,
      isOffline: true,
    };
  }

  // It is told to the server like a scan: whatever happens to the network, it gets there once.
  async undo(shown) {
    const { scan } = shown;
    const back = { ticket: scan.ticket, type: scan.type, state: scan.before, at: Date.now(), gate: this.gate };
    await store.keepScan(Object.assign(scan, { decided: "ok", undo: true }), back);
    shown.undone = true;
    await this.#changed();
    await this.flush();
  }

  // ── Keeping up ─────────────────────────────────────────────────────────────────────────────────────────────────

  // Tell the server all that it was not told.
  flush() {
    this.#flushing ??= this.#upload()
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#flushing = null;
      });
    return this.#flushing;
  }

  async #upload() {
    if (!this.secret || !this.manifest) return;
    for await (const _ of uploads(this.secret, this.manifest.event.id)) {
      this.reachable = true;
      await this.#changed();
    }
  }

  async dismiss(nonce) {
    await store.remove("conflicts", nonce);
    await this.#changed();
  }

  // To be called every few seconds: what is due is done.
  async tick() {
    if (!this.secret) return;
    await this.flush(); // which may find that the pass has ended
    if (!this.reachable || Date.now() - this.#refreshedAt > REFRESH_MS) await this.refresh();
    if (Date.now() - this.#countedAt > COUNT_MS) await this.count();
  }

  // Read the manifest: all of it, or what changed.
  refresh() {
    this.#refreshing ??= this.#readManifest()
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#refreshing = null;
      });
    return this.#refreshing;
  }

  async #readManifest() {
    if (!this.secret) return;
    const since = this.cursor;
    let page = null;
    do {
      const asked = Date.now();
      const query = new URLSearchParams({ ...(since && { since }), ...(page && { page }) });
      const { told } = await call(this.secret, `checkin/manifest?${query}`, { milliseconds: PAGE_MS });
      const { tickets, superseded = [], cursor, next_page: next, ...facts } = told;
      await store.keepTickets(tickets, superseded, asked);
      await store.put("manifest", facts);
      this.manifest = facts;
      this.reachable = true;
      page = next;
      if (page === null) {
        await store.put("cursor", cursor);
        this.cursor = cursor;
      }
      await this.#changed();
    } while (page !== null);
    this.#refreshedAt = Date.now();
  }

  // By the server, of all gates; by what this device knows, without it.
  async count() {
    if (!this.manifest) return;
    this.#countedAt = Date.now();
    try {
      if (!this.reachable) throw new Unreachable();
      const path = `organizer/events/${this.manifest.event.id}/gate`;
      const { told, etag } = await call(this.secret, path, { etag: this.#etag });
      if (told) this.counts = told.ticket_types.map(({ type, ...rest }) => ({ name: type, ...rest }));
      this.#etag = etag;
    } catch (error) {
      await this.#fail(error);
      this.#etag = null;
      if (this.manifest) this.counts = await store.count(this.manifest.ticket_types);
    }
    await this.#changed();
  }

  async #fail(error) {
    if (error instanceof PassEnded) {
      await store.wipe();
      this.ended = error.message;
      Object.assign(this, { secret: null, manifest: null, cursor: null, gate: null, recent: [], counts: [] });
    } else if (error instanceof Unreachable) {
      this.reachable = false;
    } else {
      throw error;
    }
    await this.#changed();
  }

  async #changed() {
    this.pending = await store.countUntold();
    this.conflicts = await store.all("conflicts");
    this.dispatchEvent(new Event("changed"));
  }
}

// Where a scan leaves its ticket, if it says so.
function moveOf(scan, result) {
  if (scan.ticket === null) return null;
  const isNews = result === "already_in" && scan.before === "valid";
  if (result !== "ok" && !isNews) return null;
  const state = scan.direction === "out" && result === "ok" ? "out" : "in";
  return { ticket: scan.ticket, type: scan.type, state, at: Date.now(), gate: isNews ? null : scan.gate };
}

// What was typed: a code; or a token, by a reader that types.
export const typed = (text) => {
  const plain = text.trim();
  return looksLikeToken(plain) ? { token: plain } : { code: plain.slice(0, 100) };
};
