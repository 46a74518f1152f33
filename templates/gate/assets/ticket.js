// What a QR code or a typed code says: docs/tickets.md and docs/gate.md.
import { verifyAsync } from "./ed25519.js";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const PURPOSE = new TextEncoder().encode("ticksy-ticket\0");
const CONFUSED = { O: "0", I: "1", L: "1", U: "V" };

export const looksLikeToken = (text) => /^[A-Z2-7]{149}$/.test(text);

// What the token says, before its signature is looked at; null for what is none.
export function parseToken(token) {
  if (!looksLikeToken(token)) return null;
  const bits = [...token].map((c) => ALPHABET.indexOf(c).toString(2).padStart(5, "0")).join("");
  if (bits[744] !== "0") return null; // another spelling of the same bytes
  const bytes = Uint8Array.from(bits.slice(0, 744).match(/.{8}/g), (byte) => parseInt(byte, 2));
  if (bytes[0] !== 1) return null;
  const number = (from, to) => bytes.slice(from, to).reduce((sum, byte) => sum * 256 + byte, 0);
  return {
    event: number(1, 7),
    ticket: number(7, 13),
    type: number(13, 19),
    from: number(19, 23),
    until: number(23, 27),
    rotation: number(27, 29),
    facts: bytes.slice(0, 29),
    signature: bytes.slice(29),
  };
}

// Whether one of the keys, 32 bytes each in base64, signed it.
export async function isSigned(parsed, keys) {
  const signed = new Uint8Array([...PURPOSE, ...parsed.facts]);
  for (const key of keys) {
    const bytes = Uint8Array.from(atob(key), (c) => c.charCodeAt(0));
    // Strictly as RFC 8032 says, as the server does.
    if (await verifyAsync(parsed.signature, signed, bytes, { zip215: false })) return true;
  }
  return false;
}

// A code as it was made, whatever was typed.
export function normalise(code) {
  return code.toUpperCase().replace(/[^0-9A-Z]/g, "").replace(/[OILU]/g, (c) => CONFUSED[c]);
}

// What the manifest has instead of a code.
export async function hashCode(event, code) {
  const text = new TextEncoder().encode(`${event}:${normalise(code)}`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text)).slice(0, 10);
  return btoa(String.fromCharCode(...digest)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
