// The page's dialogs: what became of a scan, counts, and what a person has to look at.
import { timeOf } from "./words.js";

export const $ = (id) => document.getElementById(id);

// Who may go in need not be looked at for long; everything else stays until somebody has seen it.
const GO_MS = 4_000;

export class Result {
  #dialog = $("result");
  #timer = 0;
  #shown = null;

  constructor({ undo }) {
    $("result-next").addEventListener("click", () => this.close());
    $("result-undo").addEventListener("click", () => {
      this.close();
      undo(this.#shown);
    });
  }

  show(shown) {
    this.#shown = shown;
    const { answer } = shown;
    this.#dialog.className = shown.kind;
    $("result-word").textContent = shown.word;
    $("result-holder").textContent = answer.holder ?? "";
    const number = answer.holder || !answer.ticket_id ? "" : `, ticket ${answer.ticket_id}`;
    $("result-type").textContent = answer.ticket_type ? answer.ticket_type + number : number.slice(2);
    $("result-sentence").textContent = shown.sentence;
    $("result-used").textContent = isUsed(answer) ? usedWhen(answer) : ""; // the server's sentence says it
    $("result-offline").hidden = !answer.isOffline;
    $("result-undo").hidden = answer.result !== "ok";
    clearTimeout(this.#timer);
    if (shown.kind === "go") this.#timer = setTimeout(() => this.close(), GO_MS);
    if (!this.#dialog.open) this.#dialog.showModal();
    $("result-next").focus();
  }

  close() {
    clearTimeout(this.#timer);
    this.#dialog.close();
  }
}

const isUsed = ({ result, used_at: at, isOffline }) => isOffline && at && result.startsWith("already_");

function usedWhen({ used_at: at, used_gate: gate }) {
  return `First in: ${timeOf(at)}${gate ? `, ${gate}` : ""}`;
}

export function showCounts(gate) {
  const rows = gate.counts.map((one) => row(one.name, one.in, one.inside, one.tickets));
  const sum = (name) => gate.counts.reduce((total, one) => total + one[name], 0);
  document.querySelector("#counts tbody").replaceChildren(...rows);
  document.querySelector("#counts tfoot").replaceChildren(row("All", sum("in"), sum("inside"), sum("tickets")));
  $("counts-source").textContent = gate.reachable
    ? "At all gates."
    : "No network: what this device knows. Other gates may have let more in.";
}

function row(name, ...numbers) {
  const line = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name, dir: "auto" });
  const cells = numbers.map((number) =>
    Object.assign(document.createElement("td"), { textContent: number.toLocaleString("en") }),
  );
  line.append(head, ...cells);
  return line;
}

export function showConflicts(gate) {
  const items = gate.conflicts.map((one) => {
    const item = document.createElement("li");
    const word = Object.assign(document.createElement("h3"), { textContent: one.word });
    const where = [timeOf(one.at), one.gate].filter(Boolean).join(", ");
    const text = Object.assign(document.createElement("p"), { textContent: `${one.message} (Scanned here: ${where})` });
    const done = Object.assign(document.createElement("button"), { type: "button", textContent: "Done" });
    done.setAttribute("aria-label", `Done: ${one.word}`);
    done.addEventListener("click", () => gate.dismiss(one.nonce));
    item.append(word, text, done);
    return item;
  });
  document.querySelector("#conflicts ul").replaceChildren(...items);
  if (!items.length && $("conflicts").open) $("conflicts").close();
}

// A sentence about the last scan that stays when the answer itself has gone.
export function lastLine(shown) {
  if (shown.undone) return `↶ Taken back: ${shown.answer.holder ?? shown.answer.ticket_type ?? "a ticket"}`;
  const icon = { go: "✓", wait: "⚠", stop: "✕" }[shown.kind];
  const who = shown.answer.holder ?? shown.answer.ticket_type;
  return `${icon} ${shown.word}${who ? `: ${who}` : ""}, ${timeOf(shown.at)}`;
}
