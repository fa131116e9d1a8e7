// The last answers, on this device only.
import { forget, recall, remember } from "./store.js";

const MOST = 60;

export const entries = () => recall("history", []);

export function clear() {
  forget("history");
  forget("counts");
}

/** Keep an answer, and count its bin. */
export function add(entry) {
  keep([entry, ...entries()].slice(0, MOST));
  count(entry.bin, 1);
}

/** Change an answer that was corrected or confirmed; if its bin changes, today's counts do. */
export function change(at, changes) {
  const before = entries().find((each) => each.at === at);
  if (!before) return;
  keep(entries().map((each) => (each.at === at ? { ...each, ...changes } : each)));
  if (changes.bin === undefined || changes.bin === before.bin || dayOf(before.at) !== dayOf()) return;
  count(before.bin, -1);
  count(changes.bin, 1);
}

/** How many answers of today went to each bin, by its key; "" is no bin. */
export function countsToday() {
  const kept = recall("counts", null);
  return kept?.day === dayOf() ? kept.bins : {};
}

function count(bin, by) {
  const bins = countsToday();
  remember("counts", { day: dayOf(), bins: { ...bins, [bin]: Math.max(0, (bins[bin] ?? 0) + by) } });
}

const dayOf = (time) => (time === undefined ? new Date() : new Date(time)).toDateString();

/** Where there is no room, older answers lose their pictures, and then their places. */
function keep(all) {
  if (remember("history", all)) return;
  const plain = all.map((each, i) => (i < 8 ? each : { ...each, picture: "" }));
  if (!remember("history", plain)) remember("history", plain.slice(0, 8));
}
