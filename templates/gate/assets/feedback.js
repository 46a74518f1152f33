// What is heard and felt: each kind of answer has a sound and a beat of its own.
// Hertz, seconds, and seconds of silence after it.
const SOUNDS = {
  go: { shape: "sine", tones: [[880, 0.09, 0.02], [1320, 0.16, 0]] },
  wait: { shape: "triangle", tones: [[520, 0.14, 0.08], [520, 0.14, 0]] },
  stop: { shape: "sawtooth", tones: [[180, 0.55, 0]] },
};
const BEATS = { go: [80], wait: [120, 80, 120], stop: [500] };

let context = null;
let lock = null;

// Browsers allow sound only once somebody has pressed something: to be called then.
export function allowSound() {
  context ??= new AudioContext();
  return context.resume();
}

export function play(kind, { isMuted }) {
  navigator.vibrate?.(BEATS[kind]);
  if (isMuted || !context) return;
  let at = context.currentTime;
  for (const [hertz, seconds, silence] of SOUNDS[kind].tones) {
    const tone = new OscillatorNode(context, { type: SOUNDS[kind].shape, frequency: hertz });
    const loudness = new GainNode(context, { gain: 0.6 });
    loudness.gain.setValueAtTime(0.6, at + seconds * 0.8);
    loudness.gain.linearRampToValueAtTime(0, at + seconds);
    tone.connect(loudness).connect(context.destination);
    tone.start(at);
    tone.stop(at + seconds);
    at += seconds + silence;
  }
}

// The screen stays on. Browsers end this when the page is out of sight: to be called again then.
export async function stayAwake() {
  try {
    if (!lock || lock.released) lock = await navigator.wakeLock?.request("screen");
  } catch {
    // A battery that is nearly empty: the screen may go dark, and everything else works.
  }
}
