// Keeps the page, so that it opens without a network. VERSION and FILES stand before this: the server writes them. The
// API's answers pass by and are kept by nobody here.
const CACHE = `gate-${VERSION}`;
const KEPT = new Set(FILES.map((name) => new URL(name, self.location.href).href));

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const name = url.origin + url.pathname;
  if (event.request.method === "GET" && KEPT.has(name)) event.respondWith(find(name, event.request));
});

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll([...KEPT].map((name) => new Request(name, { cache: "reload" })));
  await self.skipWaiting();
}

async function takeOver() {
  const old = (await caches.keys()).filter((name) => name.startsWith("gate-") && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function find(name, request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(name)) ?? fetch(request);
}
