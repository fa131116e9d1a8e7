// The dialogs: which kind it really is, the history, the counts of the day.
import { $, UNSURE, el, isLikely, sign } from "./answer.js";
import * as past from "./history.js";
import { languageNow, otherLanguage, pick, t, tagOf } from "./words.js";

function chip(bin) {
  const made = el("span", "", { class: "chip" });
  made.style.setProperty("--fill", bin.fill);
  made.append(sign(bin.key));
  return made;
}

/** Ask what it is: the likeliest first, then all kinds by bin. `chosen` gets a kind, or null for none. */
export function askKind(words, predictions, chosen) {
  const list = $("kinds-list");
  const group = (heading, kinds, bin) => {
    const title = el("h3", "");
    if (bin) title.append(chip(bin));
    title.append(el("span", heading));
    const items = el("ul");
    items.append(...kinds.map((kind) => item(kind, chosen)));
    return [title, items];
  };
  const all = (words.facts?.classes ?? predictions).map((each) => words.kind(each));
  const likely = predictions.slice(0, 5).filter(isLikely).map((each) => words.kind(each));
  const bins = [...new Map(all.map((kind) => [kind.bin.key || kind.bin.chinese, kind.bin])).values()];
  list.replaceChildren(
    ...(likely.length ? group(t("likely"), likely) : []),
    ...bins.flatMap((bin) => group(pick(bin) || t("noBin"), all.filter((kind) => kind.bin.key === bin.key && kind.bin.chinese === bin.chinese), bin)),
    ...group(t("notListed"), [{ id: "none", chinese: t("noneOfThese") }]),
  );
  list.scrollTop = 0;
  $("kinds").showModal();
}

function item(kind, chosen) {
  const button = el("button", pick(kind), { "data-class": kind.id });
  const other = pick(kind, otherLanguage());
  if (other && other !== pick(kind)) button.append(el("small", other, { language: otherLanguage() }));
  button.addEventListener("click", () => {
    $("kinds").close();
    chosen(kind.id === "none" ? null : kind);
  });
  const place = el("li");
  place.append(button);
  return place;
}

/** Open the history, or draw it anew. */
export function drawHistory(words) {
  const counts = past.countsToday();
  const bins = words.region?.bins ?? [];
  const named = new Set(bins.map((each) => each.key));
  const others = Object.entries(counts).filter(([key]) => !named.has(key)).reduce((sum, [, n]) => sum + n, 0);
  $("counts").replaceChildren(
    ...bins.map((bin) => counted(pick(bin), counts[bin.key] ?? 0, bin)),
    ...(others ? [counted(t("unsure"), others, { key: "unsure", fill: UNSURE })] : []),
  );
  const all = past.entries();
  $("answers").replaceChildren(...(all.length ? all.map((each) => row(each, words)) : [el("li", t("nothingYet"))]));
  $("clear").hidden = all.length === 0;
}

function counted(name, number, bin) {
  const made = el("li", "", { "data-bin": bin.key });
  made.append(chip(bin), el("span", name), el("b", String(number)));
  return made;
}

function row(entry, words) {
  const made = el("li", "", { "data-bin": entry.bin });
  const picture = entry.picture ? el("img", "", { src: entry.picture, alt: "" }) : el("span", "", { class: "none" });
  const text = el("div");
  const said = entry.said; // what a person said: a kind, or null for none
  const answered = nameOf(entry.answer, words, entry.sure);
  if (said === undefined) text.append(el("span", answered));
  else if (said !== null && said.class_id === entry.answer.class_id && entry.sure) text.append(el("span", answered), el("small", t("confirmed")));
  else text.append(el("span", said === null ? t("noneOfThese") : nameOf(said, words, true)), el("small", t("corrected")), del(answered));
  const time = new Intl.DateTimeFormat(tagOf(languageNow()), { dateStyle: "short", timeStyle: "short" }).format(new Date(entry.at));
  text.append(el("small", time));
  made.append(picture, text);
  return made;
}

function del(text) {
  const small = el("small");
  small.append(el("del", text));
  return small;
}

function nameOf(prediction, words, sure) {
  const kind = words.kind(prediction);
  const name = [pick(kind.bin), pick(kind)].filter(Boolean).join(languageNow() === "zh" ? "，" : ": ");
  return sure ? name : `${t("unsure")} (${name})`;
}
