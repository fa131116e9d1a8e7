// The page at the bin: photo, answer, voice. Everything that happens starts here.
import { $, Words, el, isOfKnown, sentence, show } from "./answer.js";
import { Camera, drawFile, encode, thumbnail } from "./camera.js";
import { watchScene } from "./handsfree.js";
import * as past from "./history.js";
import * as server from "./server.js";
import { askKind, drawHistory } from "./sheets.js";
import { recall, remember } from "./store.js";
import * as voice from "./voice.js";
import { languageNow, pick, speakIn, t } from "./words.js";

const KIOSK = !["0", null].includes(new URLSearchParams(location.search).get("kiosk"));
const RESET_SECONDS = 10; // a kiosk's answer stays for so long
const SLEEP_SECONDS = 30; // a kiosk where nothing moves darkens after so long
const READ_SECONDS = 5; // hands-free, an answer stays at least so long
const LARGEST_UNREAD = 30e6; // bytes of a file that the browser can't read, and the server may

const body = document.body;
const camera = new Camera($("view"));
let words = new Words(recall("facts", null), recall("region", "national"));
let why = ""; // the reason why there is no camera
let answer = null; // the one on the screen
let turn = 0; // of photos; a reply to an older one is dropped
let renewed = false; // a newer page is here
let starting = null; // a camera that is being asked for
let told = Promise.resolve(); // what people said, once the server knows it
let locked = false; // the server asks for a key, or for another one
let shownAt = 0, sayTimer, failTimer, resetTimer, sleepTimer, stopWatching = null, lookForServer = () => {};

const state = () => body.dataset.state;
const mark = (name) => performance.mark(`garbage:${name}`);
const isOpen = () => document.querySelector("dialog[open]") !== null;

function enter(next) {
  body.dataset.state = next;
  const answered = next === "answered";
  $("answer").hidden = !answered;
  $("look").inert = answered;
  $("still").hidden = !(next === "asking" && $("still").width > 0);
  $("shoot").setAttribute("aria-disabled", String(next === "asking"));
  $("invite").textContent = KIOSK && !answered && camera.live ? t("invite") : "";
}

/** Say something at the top; without seconds it stays. */
function notice(text, seconds) {
  clearTimeout(sayTimer);
  $("notice").textContent = text;
  if (seconds) sayTimer = setTimeout(() => notice(body.dataset.server === "away" ? t("away") : ""), seconds * 1000);
}

// ---- a photo

const short = () => 2 * (words.facts?.input?.resize_short ?? 256);
const mayAsk = () => state() === "looking" || state() === "failed";

async function shoot() {
  if (state() === "starting" && !KIOSK) pickFile({ byCamera: true }); // the browser still asks for the camera
  if (!mayAsk()) return;
  voice.unlock();
  if (!camera.live) {
    if (KIOSK) startCamera(); // whoever passes by is not shown this device's files
    else pickFile({ byCamera: true });
    return;
  }
  performance.clearMarks();
  mark("shoot");
  if (!camera.grab($("still"), short(), $("frame"))) return;
  mark("captured");
  $("still").classList.toggle("mirrored", camera.selfie);
  await ask(async () => encode($("still")));
}

/** Let a file be chosen; on a phone the big button opens its camera. */
function pickFile({ byCamera }) {
  if (byCamera) $("file").setAttribute("capture", "environment");
  else $("file").removeAttribute("capture");
  $("file").click();
}

async function take(file) {
  if (!file || state() === "asking" || isOpen()) return;
  voice.unlock();
  performance.clearMarks();
  mark("shoot");
  $("still").width = 0;
  enter("asking");
  const read = await drawFile($("still"), file, short());
  mark("captured");
  $("still").classList.remove("mirrored");
  enter("asking");
  if (!read && file.size > LARGEST_UNREAD) {
    fail(t("tooLarge"));
    return;
  }
  // what this browser can't read, the server may; it is not kept, since nothing took its metadata out
  await ask(async () => (read ? encode($("still")) : file), { collect: read });
}

async function ask(encoded, { collect = true } = {}) {
  answer = null;
  turn += 1;
  const mine = turn;
  enter("asking");
  hush();
  notice(t("looking"));
  try {
    const photo = await encoded();
    mark("shrunk");
    const reply = await predict(photo, collect && collects());
    mark("replied");
    if (reply.error || !reply.predictions?.length) throw new server.Refused(422, reply.error ?? "");
    if (!isOfKnown(reply, words.facts)) await loadFacts(); // another model answers since
    if (mine !== turn) return;
    notice("");
    present({ ...reply, at: Date.now() });
  } catch (error) {
    explain(error);
  }
}

/** Ask; a server that refuses the question may have another model by now, and is asked once more by its facts. */
async function predict(photo, collect) {
  const send = () => server.predict(photo, { topK: Math.min(words.facts?.classes?.length ?? 5, 100), collect, busy: () => notice(t("busy")) });
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof server.Refused && error.status === 400)) throw error;
    await loadFacts();
    return send();
  }
}

function explain(error) {
  if (error instanceof server.Away) {
    fail(t("away"));
    lookForServer();
  } else if (error instanceof server.NeedsKey) {
    fail("");
    askForKey();
  } else if (error instanceof server.Refused && error.status === 413) fail(t("tooLarge"));
  else if (error instanceof server.Refused && error.status === 422) fail(t("notAPhoto"));
  else fail(t("failed") + error.message);
}

function fail(text) {
  enter("failed");
  notice(text, 8);
  clearTimeout(failTimer);
  failTimer = setTimeout(() => state() === "failed" && enter("looking"), 8000);
}

function present(reply) {
  answer = reply;
  const best = reply.predictions[0];
  const kind = words.kind(best);
  const picture = KIOSK || !$("still").width ? "" : thumbnail($("still"));
  past.add({ at: reply.at, id: reply.id, sure: reply.sure, bin: reply.sure ? kind.bin.key : "", answer: best, picture });
  $("thanks").textContent = "";
  show(answer, words);
  enter("answered");
  shownAt = performance.now();
  if (voice.say(sentence(answer, words), languageNow())) mark("spoken");
  requestAnimationFrame(() => setTimeout(() => mark("shown")));
  $("answer").scrollIntoView?.({ block: "start" });
  $("answer-bin").focus({ preventScroll: true });
  restartKiosk();
}

function again() {
  if (KIOSK && renewed) location.reload();
  answer = null;
  hush();
  notice(body.dataset.server === "away" ? t("away") : "");
  for (const each of document.querySelectorAll("dialog[open]")) each.close();
  enter("looking");
  $("shoot").focus({ preventScroll: true });
  restartKiosk();
}

const hush = () => voice.hush();

// ---- what a person says of it

function noted(about, said) {
  const kind = said && { class_id: said.id, name: said.chinese, bin: said.binName };
  past.change(about.at, { said: kind, bin: said ? said.bin.key : "" });
  if (answer?.at === about.at) {
    answer = { ...about, kind, none: said === null };
    show(answer, words);
    $("thanks").textContent = t(said === null ? "thanksNone" : "thanks");
    $("again").focus({ preventScroll: true });
    restartKiosk();
  }
  if (!about.id) return;
  told = told.then(() => server.correct(about.id, kind)).catch(() => { // one after another: the last one counts
    if (answer?.at === about.at) $("thanks").textContent = t("notSent");
  });
}

// ---- the server

const collects = () => Boolean(words.facts?.collects) && recall("collect", true);

async function loadFacts() {
  try {
    const facts = await server.facts();
    remember("facts", facts);
    words = new Words(facts, recall("region", "national"));
    draw();
    if (locked) unlock();
  } catch (error) {
    if (error instanceof server.NeedsKey) askForKey();
  }
}

function askForKey() {
  locked = true;
  const wrong = server.key() !== "";
  if (KIOSK) { // settings are not for who passes by
    notice(t(wrong ? "wrongKeyKiosk" : "needsKeyKiosk", new URL("./", document.baseURI).href));
    return;
  }
  notice(t(wrong ? "wrongKey" : "needsKey"));
  openSettings();
  $("key-needed").textContent = $("notice").textContent;
  $("key").focus();
}

/** The key was accepted. */
function unlock() {
  locked = false;
  notice("");
  $("key-needed").textContent = "";
}

function serverIs(here) {
  const before = body.dataset.server;
  body.dataset.server = here ? "here" : "away";
  if (!here) notice(t("away"));
  else if (before === "away") notice(t("back"), 3);
  if (here) loadFacts();
}

// ---- everything that depends on the language or the facts

function draw() {
  $("mute").setAttribute("aria-pressed", String(voice.isMuted()));
  $("mute").querySelector("use").setAttribute("href", voice.isMuted() ? "#icon-mute" : "#icon-voice");
  $("shoot").firstElementChild.textContent = t(camera.live ? "shoot" : "photo");
  $("why").textContent = why ? t(why) : "";
  $("why").hidden = !why;
  $("collecting").textContent = collects() ? t(KIOSK ? "collectingKiosk" : "collecting") : "";
  $("collecting").hidden = !collects();
  $("collect-row").hidden = $("collect-note").hidden = !words.facts?.collects;
  $("collect").checked = recall("collect", true);
  $("handsfree").checked = recall("handsfree", false);
  $("language").value = languageNow();
  $("voice-note").textContent = voice.hasVoice(languageNow()) ? "" : t("noVoice");
  $("voice-note").hidden = voice.hasVoice(languageNow());
  if (document.activeElement !== $("key")) $("key").value = server.key(); // or what is being typed would be gone
  $("region").replaceChildren(...words.regions.map((each) => el("option", pick(each), { value: each.key })));
  $("region").value = words.region?.key ?? "";
  $("region").parentElement.hidden = words.regions.length < 2;
  $("model-note").textContent = words.facts ? t("model", words.facts.name, words.facts.classes.length) : "";
  if (answer) show(answer, words);
  if ($("history").open) drawHistory(words);
}

function openSettings() {
  if (isOpen()) return;
  draw();
  $("settings").showModal();
}

// ---- the camera

async function startCamera() {
  if (document.hidden && !KIOSK) return; // when the page is seen again
  starting ??= camera.start().finally(() => (starting = null));
  why = await starting;
  const usable = camera.live;
  body.classList.toggle("live", usable);
  body.classList.toggle("selfie", usable && camera.selfie);
  $("flip").hidden = !usable || (await camera.count()) < 2;
  watchIfWished();
  draw();
  if (state() === "starting" || state() === "looking") enter("looking");
}

function watchIfWished() {
  stopWatching?.();
  stopWatching = null;
  if (camera.live && (KIOSK || recall("handsfree", false))) stopWatching = watchScene($("view"), saw);
}

/** Hands-free: the scene did something; returns whether a photo was taken. */
function saw(what) {
  if (KIOSK && (what === "moving" || what === "settled")) wake();
  if (isOpen()) return false;
  const read = performance.now() - shownAt > READ_SECONDS * 1000;
  if (state() === "answered" && read && (what === "settled" || what === "empty")) again();
  if (what !== "settled" || !mayAsk()) return false;
  shoot();
  return true;
}

// ---- a kiosk

function restartKiosk() {
  if (!KIOSK) return;
  clearTimeout(resetTimer);
  if (state() === "answered" || isOpen()) resetTimer = setTimeout(again, RESET_SECONDS * 1000);
  wake();
}

function wake() {
  body.classList.remove("asleep");
  clearTimeout(sleepTimer);
  sleepTimer = setTimeout(() => {
    if (state() === "looking" && camera.live) body.classList.add("asleep");
    else wake();
  }, SLEEP_SECONDS * 1000);
}

async function keepAwake() {
  if (document.hidden) return;
  try {
    await navigator.wakeLock?.request("screen");
  } catch { /* the device decides */ }
}

function startKiosk() {
  body.classList.add("kiosk");
  for (const name of ["pointerdown", "keydown"]) addEventListener(name, restartKiosk, { capture: true, passive: true });
  document.addEventListener("contextmenu", (event) => event.preventDefault());
  keepAwake();
  restartKiosk();
  setInterval(() => camera.live || startCamera(), 20_000); // one that was unplugged, or slow to wake
}

// ---- what people do

function listen() {
  $("shoot").addEventListener("click", shoot);
  $("again").addEventListener("click", again);
  $("pick").addEventListener("click", () => pickFile({ byCamera: false }));
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    take(file).finally(() => ($("file").value = "")); // the same file may be chosen again
  });
  $("flip").addEventListener("click", async () => {
    why = await camera.flip();
    if (why) await startCamera();
    body.classList.toggle("selfie", camera.selfie);
    watchIfWished(); // what this one sees without anything before it is another scene
  });
  $("mute").addEventListener("click", () => {
    voice.mute(!voice.isMuted());
    draw();
  });
  $("right").addEventListener("click", () => noted(answer, words.kind(answer.predictions[0])));
  $("wrong").addEventListener("click", () => {
    const about = answer; // also if another photo comes meanwhile
    const open = about.kind || about.none || !about.sure; // also the first answer may be what it is
    askKind(words, open ? about.predictions : about.predictions.slice(1), (kind) => noted(about, kind));
  });
  $("open-history").addEventListener("click", () => {
    drawHistory(words);
    $("history").showModal();
  });
  $("clear").addEventListener("click", () => {
    past.clear();
    drawHistory(words);
    $("history").querySelector("form button").focus();
  });
  $("open-settings").addEventListener("click", openSettings);
  $("language").addEventListener("change", () => {
    remember("language", $("language").value);
    speakIn($("language").value);
    enter(state());
    draw();
  });
  $("region").addEventListener("change", () => {
    remember("region", $("region").value);
    words = new Words(words.facts, $("region").value);
    draw();
  });
  $("handsfree").addEventListener("change", () => {
    remember("handsfree", $("handsfree").checked);
    watchIfWished();
  });
  $("collect").addEventListener("change", () => {
    remember("collect", $("collect").checked);
    draw();
  });
  $("key").addEventListener("change", () => {
    server.setKey($("key").value);
    $("key-needed").textContent = "";
    loadFacts();
  });
  addEventListener("storage", (event) => event.key === "garbage.key" && loadFacts()); // entered in another window, for a kiosk
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state() === "answered" && !isOpen()) again();
  });
  addEventListener("paste", (event) => take([...event.clipboardData.files][0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    body.classList.remove("dropping");
    take(event.dataTransfer.files[0]);
  });
  camera.onLost = () => startCamera();
  navigator.mediaDevices?.addEventListener?.("devicechange", () => camera.live || startCamera());
  navigator.permissions?.query({ name: "camera" }).then((permission) => {
    permission.onchange = () => permission.state === "granted" && !camera.live && startCamera();
  }, () => {}); // some browsers don't know of it
  voice.onVoices(draw);
  let leaving;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (KIOSK) keepAwake();
    else if (document.hidden) leaving = setTimeout(() => camera.stop(), 60_000); // its light goes out
    else if (!camera.live && why !== "whyDenied" && why !== "whyInsecure") startCamera();
    if (!document.hidden) loadFacts(); // another model may answer by now
  });
}

function installWorker() {
  if (!isSecureContext || !navigator.serviceWorker) return;
  const policy = globalThis.trustedTypes?.createPolicy("garbage", { createScriptURL: (url) => url });
  const url = new URL("sw.js", import.meta.url).href;
  const old = navigator.serviceWorker.controller;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    renewed = Boolean(old);
    if (KIOSK && renewed && state() === "looking") location.reload(); // nobody is there to reload it
  });
  navigator.serviceWorker.register(policy ? policy.createScriptURL(url) : url, { scope: new URL("./", document.baseURI).pathname }).catch(() => {});
}

async function start() {
  speakIn(recall("language", (navigator.language ?? "zh").toLowerCase().startsWith("zh") ? "zh" : "en"));
  if (KIOSK) startKiosk();
  listen();
  draw();
  lookForServer = server.watch(serverIs, KIOSK ? 5 : 15);
  installWorker();
  await startCamera();
}

start();
