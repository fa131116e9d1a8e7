// The server's routes: what they are sent and what goes wrong. Knows no element of the page.
import { recall, remember } from "./store.js";

const base = new URL("./", document.baseURI);
const SECONDS = 40;
const within = (seconds) => AbortSignal.timeout?.(seconds * 1000); // older browsers wait as long as they like

export class Away extends Error {}
export class NeedsKey extends Error {}
export class Refused extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const key = () => recall("key", "");
export const setKey = (value) => remember("key", value.trim());

async function ask(path, init = {}, seconds = SECONDS) {
  const headers = new Headers(init.headers);
  try {
    if (key()) headers.set("x-api-key", key());
  } catch {
    throw new NeedsKey(); // one that no header can hold
  }
  let response, text;
  try {
    response = await fetch(new URL(path, base), { ...init, headers, cache: "no-store", signal: within(seconds) });
    text = await response.text();
  } catch (error) {
    throw new Away(error.message);
  }
  if (response.status === 401) throw new NeedsKey();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    if (response.status === 413) throw new Refused(413, "", 1); // a proxy's own limit
    throw new Away(`HTTP ${response.status}`); // a proxy whose server is away
  }
  if (!response.ok) {
    const said = value?.error ?? value?.results?.[0]?.error ?? `HTTP ${response.status}`;
    throw new Refused(response.status, String(said), Number(response.headers.get("retry-after")) || 1);
  }
  return value;
}

/** The model's facts: kinds, bins, regions. */
export const facts = () => ask("v1/model", {}, 15);

/** One photo's answer, and under which id the server keeps the photo, if it does; a busy server is asked once more. */
export async function predict(photo, { topK, collect, busy }) {
  const query = `top_k=${topK}${collect ? "&collect=1" : ""}`;
  const send = () => ask(`v1/predict?${query}`, { method: "POST", body: photo, headers: { "content-type": photo.type || "application/octet-stream" } });
  let value;
  try {
    value = await send();
  } catch (error) {
    if (!(error instanceof Refused && error.status === 503)) throw error;
    busy();
    await new Promise((done) => setTimeout(done, Math.min(error.retryAfter, 5) * 1000));
    value = await send();
  }
  return { ...value.results[0], id: value.collected?.[0] ?? null };
}

/** What a person says a photo shows: a kind by number and name, so that a list which has changed files nothing wrongly; or null. */
export const correct = (id, kind) =>
  ask("v1/corrections", { method: "POST", body: JSON.stringify({ id, class_id: kind?.class_id ?? null, ...(kind && { name: kind.name }) }), headers: { "content-type": "application/json" } }, 15);

/** Call `changed(here)` as the server goes and comes; returns a function that looks at once. */
export function watch(changed, every) {
  let timer, here = null, pause = 1;
  async function look() {
    clearTimeout(timer);
    let now = true;
    try {
      const response = await fetch(new URL("readyz", base), { cache: "no-store", signal: within(5) });
      now = response.ok;
    } catch {
      now = false;
    }
    clearTimeout(timer);
    pause = now ? every : here ? 1 : Math.min(pause * 1.5, 8);
    if (now !== here) changed((here = now));
    if (!document.hidden) timer = setTimeout(look, pause * 1000);
  }
  const again = () => {
    pause = 1;
    look();
  };
  addEventListener("online", again);
  addEventListener("offline", again);
  document.addEventListener("visibilitychange", () => document.hidden || again());
  again();
  return again;
}
