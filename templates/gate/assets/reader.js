// Reads QR codes out of a video: with what the browser has for that, or else with a script in a thread of its own.
const LONGEST_SIDE = 800;

// A function that takes a <video> and gives the text of a QR code in its present picture, or nothing.
export async function makeReader() {
  const own = await nativeReader().catch(() => null);
  let other = null;
  if (!own) return scriptReader();
  return async (video) => {
    if (other) return other(video);
    try {
      return await own(video);
    } catch {
      other = scriptReader(); // some phones have it in name only
      return other(video);
    }
  };
}

async function nativeReader() {
  if (!("BarcodeDetector" in self)) return null;
  if (!(await BarcodeDetector.getSupportedFormats()).includes("qr_code")) return null;
  const detector = new BarcodeDetector({ formats: ["qr_code"] });
  return async (video) => (await detector.detect(video))[0]?.rawValue;
}

function scriptReader() {
  const worker = new Worker(new URL("decode.js", import.meta.url), { type: "module" });
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  return (video) =>
    new Promise((resolve, reject) => {
      const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
      canvas.width = Math.round(video.videoWidth * scale);
      canvas.height = Math.round(video.videoHeight * scale);
      pen.drawImage(video, 0, 0, canvas.width, canvas.height);
      const { width, height, data } = pen.getImageData(0, 0, canvas.width, canvas.height);
      worker.onmessage = ({ data: text }) => resolve(text);
      worker.onerror = () => reject(new Error("The QR reader does not run in this browser."));
      worker.postMessage({ width, height, data }, [data.buffer]);
    });
}
