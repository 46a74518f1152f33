// What becomes of a ticket where the server cannot be asked: its rules (docs/gate.md), in its order, by what the
// manifest said last and this device did since. `read` is what was held up, `row` its ticket in the manifest if there
// is one, `state` that ticket's state by now, `at` the time in milliseconds.
export function judge({ manifest, read, row, state, direction, at }) {
  if (read.refusal) return read.refusal;
  // A signature is enough: it may have been sold after the manifest was read. A typed code has none.
  if (!row && !read.isSigned) return "unknown";
  if (row && read.rotation !== null && read.rotation < row.rotation) return "superseded";
  if (state === "refunded" || state === "void") return state;
  if (manifest.event.status === "cancelled") return "event_cancelled";
  if (at < Date.parse(manifest.opens_at)) return "not_yet";
  if (at >= Date.parse(manifest.closes_at)) return "too_late";
  if (direction === "out") return { in: "ok", out: "already_out" }[state] ?? "not_in";
  if (state === "out") return manifest.event.allows_reentry ? "ok" : "already_in";
  return state === "in" ? "already_in" : "ok";
}
