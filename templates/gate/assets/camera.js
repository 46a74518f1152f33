// The camera: it looks for QR codes some eight times a second and gives their texts to `found`.
import { makeReader } from "./reader.js";

const PAUSE_MS = 60;

export class Camera {
  #video;
  #found;
  #reader = null;
  #stream = null;
  #track = null;
  #starts = 0;
  hasTorch = false;
  isLit = false;
  others = []; // ids of this device's cameras
  id = null; // of the one that runs

  constructor(video, found) {
    this.#video = video;
    this.#found = found;
  }

  get isOn() {
    return this.#stream !== null;
  }

  // `id` is that of a camera; else the one that looks away from whoever holds the phone.
  async start(id = null) {
    this.stop();
    const mine = this.#starts;
    if (!navigator.mediaDevices) throw new DOMException("This page needs https.", "SecurityError");
    this.#reader ??= await makeReader();
    const stream = await this.#open(id);
    if (mine !== this.#starts) {
      stream.getTracks().forEach((track) => track.stop()); // stopped, or started again, while it was asked for
      return;
    }
    this.#stream = stream;
    this.#track = stream.getVideoTracks()[0];
    this.id = this.#track.getSettings().deviceId ?? null;
    this.hasTorch = Boolean(this.#track.getCapabilities?.().torch);
    const devices = await navigator.mediaDevices.enumerateDevices();
    this.others = devices.filter((one) => one.kind === "videoinput").map((one) => one.deviceId);
    this.#track.addEventListener("ended", () => this.stop());
    this.#video.srcObject = stream;
    await this.#video.play();
    this.#watch(stream);
  }

  async #open(id) {
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const which = id ? { deviceId: { exact: id } } : { facingMode: { ideal: "environment" } };
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, ...which } });
    } catch (error) {
      if (!id || error.name === "NotAllowedError") throw error;
      return this.#open(null); // the one that was chosen is not there any more
    }
  }

  async #watch(stream) {
    while (this.#stream === stream) {
      const text = this.#video.readyState >= 2 ? await this.#reader(this.#video).catch(() => null) : null;
      if (text && this.#stream === stream) this.#found(text);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  stop() {
    this.#starts += 1;
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#video.srcObject = null;
    Object.assign(this, { hasTorch: false, isLit: false });
    this.#stream = this.#track = null;
  }

  // The next one of this device's.
  async change() {
    const next = this.others[(this.others.indexOf(this.id) + 1) % this.others.length];
    await this.start(next);
  }

  async light() {
    await this.#track?.applyConstraints({ advanced: [{ torch: !this.isLit }] });
    this.isLit = !this.isLit;
  }
}

// A ticket before the camera is one scan, however long it stays; taken away for as long as this, it is another one.
const AWAY_MS = 3_000;

export class Seen {
  #times = new Map();

  isNew(text, at = Date.now()) {
    for (const [other, time] of this.#times) if (at - time > AWAY_MS) this.#times.delete(other);
    const isNew = !this.#times.has(text);
    this.#times.set(text, at);
    return isNew;
  }
}
