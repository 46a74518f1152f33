// Calls of the API, with a gate pass. Whatever goes wrong is one of three things: there is no network (or nobody there
// who can answer), the pass does not work any more, or the server refuses.
const ROOT = new URL("../../", import.meta.url);
const ASK_MS = 3_000;

export class Unreachable extends Error {}
export class PassEnded extends Error {}
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The device's clock may be wrong; what counts is the server's, which every answer tells, to the second.
let ahead = 0;
export const now = () => Date.now() + ahead;

export async function call(secret, path, { body, etag, milliseconds = ASK_MS } = {}) {
  const headers = { Authorization: `Gate ${secret}` };
  if (etag) headers["If-None-Match"] = etag;
  if (body) headers["Content-Type"] = "application/json";
  const asked = { method: body ? "POST" : "GET", headers, cache: "no-store", signal: deadline(milliseconds) };
  if (body) asked.body = JSON.stringify(body);
  let answer, told;
  try {
    answer = await fetch(new URL(path, ROOT), asked);
    told = answer.status === 304 ? null : await answer.json(); // what is no JSON is not from the API
  } catch (error) {
    throw new Unreachable(error.message);
  }
  readClock(answer);
  if (answer.status === 401 && told.code.startsWith("gate_pass_")) throw new PassEnded(told.message);
  if ([401, 429].includes(answer.status) || answer.status >= 500) throw new Unreachable(told.message);
  if (answer.status >= 400) throw new Refused(answer.status, told.message);
  return { told, etag: answer.headers.get("ETag") };
}

function deadline(milliseconds) {
  const over = new AbortController();
  setTimeout(() => over.abort(), milliseconds);
  return over.signal;
}

function readClock(answer) {
  const date = Date.parse(answer.headers.get("Date"));
  // Within two seconds the difference says more about the network than about the clock.
  if (date) ahead = Math.abs(date - Date.now()) > 2_000 ? date - Date.now() : 0;
}
