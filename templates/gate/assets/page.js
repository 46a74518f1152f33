// The page itself: which of its screens is shown, and what its buttons do.
import { Camera, Seen } from "./camera.js";
import { allowSound, play, stayAwake } from "./feedback.js";
import { Gate, typed } from "./gate.js";
import { $, lastLine, Result, showConflicts, showCounts } from "./panels.js";
import * as store from "./store.js";
import { count } from "./words.js";

const TICK_MS = 5_000;

const gate = new Gate();
const seen = new Seen();
const camera = new Camera($("video"), (text) => see(text));
const result = new Result({ undo: (shown) => undo(shown) });
let direction = "in";
let isScanning = false; // Start was pressed
let isBusy = false;
let isMuted = false;

// ── Scanning ─────────────────────────────────────────────────────────────────────────────────────────────────────

function see(text) {
  if (!isBusy && seen.isNew(text)) present({ token: text });
}

async function present(held) {
  if (isBusy) return;
  isBusy = true;
  $("finder").classList.add("busy");
  try {
    const shown = await gate.scan(held, direction);
    play(shown.kind, { isMuted });
    result.show(shown);
  } catch (error) {
    if (!gate.manifest) return; // the pass has ended, and the page says so
    console.warn(error.message);
    play("wait", { isMuted });
    result.show({ kind: "wait", word: "Not checked", sentence: "Please scan it again.", answer: { result: "" } });
  } finally {
    isBusy = false;
    $("finder").classList.remove("busy");
  }
}

// The ticket may still be before the camera: it counts again once it was out of sight.
const undo = (shown) => gate.undo(shown);

async function turnCameraOn(start = () => store.get("camera").then((id) => camera.start(id))) {
  try {
    await start();
    $("camera-fault").hidden = true;
  } catch (error) {
    const why = {
      NotAllowedError: "The camera is not allowed. Please allow it for this page in the browser's settings.",
      NotFoundError: "This device has no camera.",
      NotReadableError: "The camera is in use by another program.",
      SecurityError: "A camera can be used over https only.",
    };
    $("camera-fault").hidden = false;
    const told = why[error.name] ?? "The camera does not start.";
    $("camera-fault").querySelector("p").textContent = `${told} Codes can be typed.`;
  }
  render();
}

// ── Screens ──────────────────────────────────────────────────────────────────────────────────────────────────────

function render() {
  const { manifest } = gate;
  if (!manifest && isScanning) leave();
  $("welcome").hidden = Boolean(gate.secret);
  $("ready").hidden = !gate.secret || isScanning;
  $("scan").hidden = !isScanning;
  $("event").textContent = manifest?.event.title ?? "Gate";
  document.title = manifest ? `Gate: ${manifest.event.title}` : "Gate";
  const waiting = gate.pending ? `${gate.pending.toLocaleString("en")} to send` : "";
  const network = gate.secret ? (gate.reachable ? "Online" : "No network") : "";
  say("network", [network, waiting].filter(Boolean).join(" · "));
  $("network").classList.toggle("away", Boolean(gate.secret) && !gate.reachable);
  if (!gate.secret) renderWelcome();
  else if (!isScanning) renderReady();
  else renderScan();
  showCounts(gate);
  showConflicts(gate);
}

function renderWelcome() {
  $("ended").hidden = !gate.ended;
  say("ended", gate.ended ?? "");
  $("untold").hidden = !gate.pending;
  const scans = count(gate.pending, "scan waits", "scans wait");
  $("untold").textContent = `${scans} to be sent: please open another pass of the same event on this device.`;
}

function renderReady() {
  const { manifest } = gate;
  const places = manifest?.gate_pass?.gates ?? [];
  $("pass-name").textContent = [manifest?.gate_pass?.name, gate.gate].filter(Boolean).join(", ");
  const loading = gate.reachable ? "Loading the tickets…" : "No network: the tickets could not be loaded yet.";
  say("tickets", gate.cursor ? "All tickets are on this device: it works without a network too." : loading);
  $("start").disabled = !manifest;
  $("gate-choice").hidden = places.length < 2;
  $("gate-naming").hidden = !manifest || places.length > 0;
  if (places.length > 1 && $("gate").length !== places.length) {
    $("gate").replaceChildren(...places.map((name) => new Option(name, name, false, name === gate.gate)));
  }
  if (document.activeElement !== $("gate-name")) $("gate-name").value = gate.gate ?? $("gate-name").value;
  $("device").textContent = gate.device;
}

function renderScan() {
  const [last] = gate.recent;
  $("last").hidden = !last;
  if (last) $("last-text").textContent = lastLine(last);
  $("last-undo").hidden = !last || last.undone || last.answer.result !== "ok";
  $("direction").hidden = !gate.manifest.event.allows_reentry;
  if ($("direction").hidden) turn("in");
  $("torch").hidden = !camera.hasTorch;
  press($("torch"), camera.isLit);
  $("camera").hidden = camera.others.length < 2;
  press($("sound"), !isMuted);
  const inside = gate.counts.reduce((total, one) => total + one.inside, 0);
  $("counting").textContent = gate.counts.length ? `Counts: ${inside.toLocaleString("en")} in` : "Counts";
  $("look").hidden = !gate.conflicts.length;
  $("look").textContent = `${count(gate.conflicts.length, "scan", "scans")} to look at`;
}

// Said aloud by screen readers, so only when it is news.
function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function turn(way) {
  direction = way;
  for (const button of document.querySelectorAll("[data-direction]")) {
    press(button, button.dataset.direction === way);
  }
}

const press = (button, isPressed) => button.setAttribute("aria-pressed", isPressed);

function leave() {
  isScanning = false;
  camera.stop();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

// ── Buttons ──────────────────────────────────────────────────────────────────────────────────────────────────────

function listen() {
  const on = (id, happening, act) => $(id).addEventListener(happening, act);
  on("pass", "submit", openPass);
  on("begin", "submit", begin);
  on("camera-again", "click", () => turnCameraOn());
  on("torch", "click", () => camera.light().catch(() => {}).then(render));
  on("camera", "click", () => turnCameraOn(() => camera.change()).then(() => store.put("camera", camera.id)));
  on("sound", "click", () => store.put("muted", (isMuted = !isMuted)).then(render));
  on("last-undo", "click", () => undo(gate.recent[0]));
  on("type", "click", () => $("typing").showModal());
  on("counting", "click", showCounting);
  on("look", "click", () => $("conflicts").showModal());
  on("code-form", "submit", check);
  on("direction", "click", ({ target }) => target.dataset.direction && turn(target.dataset.direction));
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  gate.addEventListener("changed", render);
  window.addEventListener("hashchange", () => openSecret());
  window.addEventListener("online", () => gate.tick());
  document.addEventListener("visibilitychange", come);
  setInterval(() => document.hidden || gate.tick(), TICK_MS);
}

function showCounting() {
  $("counts").showModal();
  gate.count();
}

function openPass(event) {
  event.preventDefault();
  const [secret] = $("link").value.match(/[0-9a-f]{32}(?=\s*$)/) ?? [];
  $("link-fault").textContent = secret ? "" : "This is no link of a gate pass.";
  if (!secret) return;
  $("link").value = "";
  open(secret);
}

function begin(event) {
  event.preventDefault();
  const places = gate.manifest.gate_pass?.gates ?? [];
  const chosen = { 0: $("gate-name").value.trim(), 1: places[0] }[places.length] ?? $("gate").value;
  allowSound().catch(() => {}); // silent, then
  isScanning = true;
  gate.choose(chosen).then(render);
  stayAwake();
  turnCameraOn();
}

function check(event) {
  event.preventDefault();
  const held = typed($("code").value);
  if (!/[0-9a-z]/i.test(held.code ?? held.token)) return;
  $("code").value = "";
  $("typing").close();
  present(held);
}

// ── Coming and going ─────────────────────────────────────────────────────────────────────────────────────────────

// The camera rests while the page is out of sight; when it comes back, so does what a newer version changed.
let isOutdated = false;

function come() {
  if (document.hidden) {
    camera.stop();
    return;
  }
  if (isOutdated) location.reload();
  gate.tick();
  if (!isScanning) return;
  allowSound().catch(() => {}); // phones take it away from pages out of sight
  stayAwake();
  turnCameraOn();
}

// What stands behind # goes into the store, and out of the address bar and the history.
function openSecret() {
  const [, secret] = location.hash.match(/^#([0-9a-f]{32})$/) ?? [];
  if (location.hash) history.replaceState(null, "", location.pathname);
  return open(secret);
}

async function open(secret) {
  if (secret) leave();
  await gate.open(secret);
  await gate.tick();
}

async function work() {
  if (!navigator.serviceWorker) return;
  const hadOne = Boolean(navigator.serviceWorker.controller);
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    isOutdated = hadOne;
  });
  const root = new URL("../", import.meta.url);
  await navigator.serviceWorker.register(new URL("worker.js", root), { scope: new URL("../gate", root).pathname });
}

async function main() {
  listen();
  work().catch((error) => console.warn(error.message)); // it works, but opens with a network only
  isMuted = (await store.get("muted")) ?? false;
  await openSecret();
  navigator.storage?.persist?.();
}

main().catch((error) => {
  console.warn(error.message);
  gate.ended = "This browser lets the page keep nothing. Please use another one, or a window that is not private.";
  render();
});
