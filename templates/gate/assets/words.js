// What is said about a scan: `go` lets in, `wait` is a ticket but not now or not here, `stop` is none that counts.
const RESULTS = {
  ok: ["go", "Let in", "This ticket is good."],
  already_in: ["wait", "Already in", "This ticket was used already."],
  already_out: ["wait", "Already out", "Its holder is out already."],
  not_in: ["wait", "Not in yet", "Its holder has not come in."],
  wrong_gate: ["wait", "Wrong gate", "This gate pass is for other gates."],
  not_yet: ["wait", "Too early", "The gates of this event are not open yet."],
  too_late: ["wait", "Too late", "The gates of this event are closed."],
  refunded: ["stop", "Refunded", "This ticket is not valid any more: its money has been given back."],
  void: ["stop", "Not valid", "This ticket is not valid any more."],
  superseded: ["stop", "Replaced", "This ticket has been issued anew: only its newest QR code counts."],
  wrong_event: ["stop", "Other event", "This ticket is for another event."],
  event_cancelled: ["stop", "Cancelled", "This event has been cancelled."],
  bad_signature: ["stop", "Forged", "This is a forged or damaged ticket."],
  unknown: ["stop", "No ticket", "This is no ticket of this event."],
};

export function describe(result, direction) {
  if (result === "ok" && direction === "out") return { kind: "go", word: "Let out", sentence: "They are out." };
  const [kind, word, sentence] = RESULTS[result] ?? ["stop", "Stop", "Please ask the organizer."];
  return { kind, word, sentence };
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "Africa/Nairobi" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", timeZone: "Africa/Nairobi" });

export function timeOf(moment, now = Date.now()) {
  const at = new Date(moment);
  return DAY.format(at) === DAY.format(now) ? CLOCK.format(at) : `${CLOCK.format(at)} on ${DAY.format(at)}`;
}

export const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
