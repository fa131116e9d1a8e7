// Keeps the page for when the server is away. Photos and answers pass by: they are never kept here.
const PLACE = `garbage ${new URL("../", self.location).pathname} `; // several may share an origin
const NAME = `${PLACE}@VERSION@`;
const FILES = ["../", "style.css", "app.js", "answer.js", "camera.js", "handsfree.js", "history.js", "server.js", "sheets.js", "store.js", "voice.js", "words.js", "manifest.webmanifest", "icon.svg", "icon.png"];
const SHELL = FILES.map((each) => new URL(each, self.location).href);

self.addEventListener("install", (event) => {
  const fresh = SHELL.map((url) => new Request(url, { cache: "reload" }));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith(PLACE) && name !== NAME);
  event.waitUntil(caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name)))).then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const url = event.request.url.split(/[?#]/)[0];
  if (event.request.method === "GET" && SHELL.includes(url)) event.respondWith(newest(event.request, url));
});

/** From the server, and if that is away, as it was kept. */
async function newest(request, url) {
  const given = new AbortController();
  const timer = setTimeout(() => given.abort(), 4000);
  try {
    const response = await fetch(request, { signal: given.signal });
    const body = await response.blob(); // whole, or what is kept is better
    if (response.ok) return new Response(body, { status: response.status, headers: response.headers });
  } catch { /* away, or too slow */ } finally {
    clearTimeout(timer);
  }
  return (await caches.match(url)) ?? Response.error();
}
