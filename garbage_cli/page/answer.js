// The answer on the screen: whose bin, what it is, how to prepare it. Knows the facts of the model and the words.
import { inLanguage, languageNow, otherLanguage, pick, t, tagOf } from "./words.js";

const NEUTRAL = "#3d4248";
export const UNSURE = "#51407a"; // no bin has it
export const $ = (id) => document.getElementById(id);

/** An element with text, in one of the two languages if that is said. */
export function el(name, text = "", { language, ...attributes } = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  if (language) made.lang = tagOf(language);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function sign(name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const used = document.createElementNS("http://www.w3.org/2000/svg", "use");
  used.setAttribute("href", `#${signName(name)}`);
  made.setAttribute("aria-hidden", "true");
  made.append(used);
  return made;
}

const signName = (bin) => (document.getElementById(`sign-${bin}`) ? `sign-${bin}` : "sign-kind");
const percent = (score) => new Intl.NumberFormat(tagOf(languageNow()), { style: "percent" }).format(score);

/** What a model knows, in a region's words. */
export class Words {
  constructor(facts, regionKey) {
    this.facts = facts;
    this.regions = facts?.regions ?? [];
    this.region = this.regions.find((each) => each.key === regionKey) ?? this.regions[0];
  }

  /** A kind: its names, its bin, its preparation; from the prediction itself where the model has changed meanwhile. */
  kind(prediction) {
    const known = this.facts?.classes?.[prediction.class_id];
    const label = known && (known.name === prediction.name || prediction.name === undefined) ? known : {};
    const chinese = label.name ?? prediction.name;
    const binName = label.bin ?? prediction.bin; // in the data set's own word
    return { id: prediction.class_id, chinese, english: label.english ?? "", binName, bin: this.bin(label.bin_key, binName), preparation: label.preparation };
  }

  /** A bin: by its key in the region's words, or as the data set calls it. */
  bin(key, name) {
    const found = key && this.region?.bins.find((each) => each.key === key);
    if (found) return found;
    return { key: "", chinese: name ?? "", english: "", fill: NEUTRAL };
  }
}

/** Whether an answer is of the kinds that are known here: the server's model may have changed meanwhile. */
export const isOfKnown = (reply, facts) =>
  Boolean(facts) && reply.predictions.every((each) => facts.classes[each.class_id]?.name === each.name);

/** Whether a score is worth naming. */
export const isLikely = ({ score }) => score >= 0.01;

/** The likeliest bins with their summed scores and the likeliest kind of each. */
export function likeliestBins(words, predictions) {
  const bins = new Map();
  for (const each of predictions) {
    const kind = words.kind(each);
    const name = kind.bin.key || kind.bin.chinese || kind.chinese;
    const sum = bins.get(name) ?? { bin: kind.bin, kind, score: 0 };
    bins.set(name, { ...sum, score: sum.score + each.score });
  }
  return [...bins.values()].sort((a, b) => b.score - a.score).slice(0, 2).filter((each, i) => i === 0 || isLikely(each));
}

function paint(fill) {
  document.body.style.setProperty("--fill", fill);
  document.querySelector("meta[name=theme-color]").content = fill;
}

function put(id, text, language = languageNow()) {
  $(id).textContent = text;
  $(id).lang = tagOf(language);
  $(id).hidden = !text;
}

/** Show an answer; `answer` has sure, predictions, and kind where a person said it. */
export function show(answer, words) {
  if (answer.none) {
    showNone();
    return;
  }
  const best = words.kind(answer.kind ?? answer.predictions[0]);
  const unsure = !answer.sure && !answer.kind;
  const named = best.bin.chinese ? best.bin : best; // without a bin, the kind takes its place
  $("answer").dataset.bin = unsure ? "unsure" : best.bin.key;
  $("sign").firstElementChild.setAttribute("href", `#${unsure ? "sign-unsure" : signName(best.bin.key)}`);
  paint(unsure ? UNSURE : best.bin.fill);
  put("answer-bin", unsure ? t("unsure") : pick(named));
  const other = unsure ? inLanguage("unsure", otherLanguage()) : pick(named, otherLanguage());
  put("answer-other-language", other === $("answer-bin").textContent ? "" : other, otherLanguage());
  put("answer-kind", unsure ? "" : pick(best));
  const second = pick(best, otherLanguage());
  put("answer-kind-other", unsure || second === pick(best) ? "" : second, otherLanguage());
  put("answer-score", unsure || answer.kind ? "" : percent(answer.predictions[0].score));
  put("answer-how", unsure ? "" : pick(best.preparation));
  put("answer-others", unsure || answer.kind ? "" : runnersUp(answer.predictions, words));
  showLikeliest(unsure ? likeliestBins(words, answer.predictions) : []);
  $("right").hidden = unsure || Boolean(answer.kind);
  $("wrong").textContent = t(answer.kind ? "change" : unsure ? "choose" : "wrong"); // what was said can be said anew
}

/** What a person said is none of the kinds: no bin, and nothing to prepare. */
function showNone() {
  $("answer").dataset.bin = "";
  $("sign").firstElementChild.setAttribute("href", "#sign-unsure");
  paint(NEUTRAL);
  put("answer-bin", t("noneOfThese"));
  put("answer-other-language", inLanguage("noneOfThese", otherLanguage()), otherLanguage());
  for (const id of ["answer-kind", "answer-kind-other", "answer-score", "answer-how", "answer-others"]) put(id, "");
  showLikeliest([]);
  $("right").hidden = true;
  $("wrong").textContent = t("change");
}

function runnersUp(predictions, words) {
  const others = predictions.slice(1, 4).filter(isLikely);
  const said = others.map((each) => `${pick(words.kind(each))} ${percent(each.score)}`);
  return said.length ? t("others") + said.join(languageNow() === "zh" ? "，" : ", ") : "";
}

function showLikeliest(bins) {
  $("likeliest").hidden = bins.length === 0;
  $("likeliest").setAttribute("aria-label", t("maybe"));
  $("likeliest").replaceChildren(
    ...bins.map(({ bin, kind, score }) => {
      const item = el("li");
      item.style.setProperty("--fill", bin.fill);
      const names = bin.chinese ? bin : kind;
      item.append(sign(bin.key), el("b", pick(names)), el("small", pick(names, otherLanguage()), { language: otherLanguage() }), el("small", `${percent(score)} · ${pick(kind)}`));
      return item;
    }),
  );
}

/** The sentence for the voice. */
export function sentence(answer, words) {
  const zh = languageNow() === "zh";
  if (!answer.sure) {
    const names = likeliestBins(words, answer.predictions).map(({ bin, kind }) => pick(bin.chinese ? bin : kind));
    return zh ? `不确定，可能是${names.join("或")}` : `Not sure. It may be ${names.join(" or ")}.`;
  }
  const kind = words.kind(answer.predictions[0]);
  if (!kind.bin.chinese) return zh ? `这是${pick(kind)}` : `This is: ${pick(kind)}.`;
  return zh ? `该垃圾为${pick(kind.bin)}，${pick(kind)}` : `${pick(kind.bin)}: ${pick(kind)}.`;
}
