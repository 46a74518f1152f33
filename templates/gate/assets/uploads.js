// Tells the server what was scanned without it. The same scan may be told any number of times: its nonce names it.
import { call, Refused } from "./api.js";
import * as store from "./store.js";
import { describe } from "./words.js";

export const SCANS = "checkin/scans";
// Scans of one upload: the server takes 500, and half a megabyte.
const MOST_SCANS = 200;
const UPLOAD_MS = 20_000;

// Sends all of an event's, batch after batch; one step each. Raises what `call` does.
export async function* uploads(secret, event) {
  let most = MOST_SCANS;
  for (;;) {
    const batch = cut(await store.untold(event, most));
    if (!batch.length) return;
    const body = { scans: batch.map((one) => ({ ...sent(one), offline: true })) };
    try {
      const { told } = await call(secret, SCANS, { body, milliseconds: UPLOAD_MS });
      for (const [place, answer] of told.results.entries()) await settle(secret, batch[place].nonce, answer);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // One of them cannot be read by the server: they go one by one, and that one is shown to a person.
      if (batch.length === 1) await giveUp(batch[0], error.message);
      most = 1;
    }
    yield;
  }
}

// A scan as the API takes it.
export function sent({ nonce, token, code, direction, gate, device, scanned_at }) {
  const told = { nonce, direction, device, scanned_at, ...(token === undefined ? { code } : { token }) };
  return gate ? { ...told, gate } : told;
}

// The first of them, to be told at once. What may have to be taken back comes last: it must not stand in the way of a
// later scan of the same ticket.
function cut(scans) {
  const last = scans.findIndex((one) => one.undo || one.decided !== "ok");
  return last < 0 ? scans : scans.slice(0, last + 1);
}

async function settle(secret, nonce, answer) {
  const scan = await store.find("queue", nonce); // as it is now: it may have been taken back since
  if (!scan) return;
  const wentThrough = scan.decided === "ok" && !scan.undo;
  if (answer.result === "ok" && !wentThrough) await takeBack(secret, scan, answer);
  if (answer.result !== "ok" && wentThrough) {
    const { word } = describe(answer.result, scan.direction);
    await tell(scan, `${word}, and let ${scan.direction} here without network`, answer.message);
  }
  await store.settleScan(nonce);
}

// The server took it for good, but nobody went through here: it was taken back, or refused without network.
async function takeBack(secret, scan, { id, holder }) {
  try {
    await call(secret, `${SCANS}/${id}/undo`, { body: {}, milliseconds: UPLOAD_MS });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await tell(scan, "Could not be taken back", error.message);
  }
  if (!scan.undo) await tell(scan, "Refused without network, and good", `${holder} has a good ticket.`);
}

async function giveUp(scan, message) {
  await tell(scan, "Could not be sent", message);
  await store.settleScan(scan.nonce);
}

function tell(scan, word, message) {
  return store.keepConflict({ nonce: scan.nonce, at: scan.scanned_at, gate: scan.gate, word, message });
}
