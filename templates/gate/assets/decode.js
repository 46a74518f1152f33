// A thread that reads QR codes: pictures come in, texts go out, null for a picture without one.
import { decodeQR } from "./qr.js";

self.onmessage = ({ data: picture }) => {
  let text = null;
  try {
    text = decodeQR(picture);
  } catch {
    // No code in it: most pictures have none.
  }
  self.postMessage(text);
};
