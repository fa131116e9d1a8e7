// The voice. Only voices that live on this device: the others send what they say to somebody's server.
import { recall, remember } from "./store.js";

const speech = globalThis.speechSynthesis;
const ORDER = { zh: ["zh-cn", "zh-hans", "cmn", "zh-sg", "zh"], en: ["en-gb", "en-us", "en"] };
const STRANGE = /^zh-(hk|mo)|^yue|^zh-hant-(hk|mo)/; // Cantonese

function voiceFor(language) {
  const here = (speech?.getVoices() ?? []).filter((each) => each.localService !== false);
  const tag = (voice) => voice.lang.toLowerCase().replaceAll("_", "-");
  for (const wanted of ORDER[language]) {
    const found = here.find((each) => tag(each).startsWith(wanted) && !STRANGE.test(tag(each)));
    if (found) return found;
  }
  return null;
}

export const isMuted = () => recall("muted", false);

export function mute(on) {
  remember("muted", on);
  if (on) speech?.cancel();
}

/** Whether a voice for this language is installed. */
export const hasVoice = (language) => voiceFor(language) !== null;

/** Tell when the list of voices, which comes late, is there. */
export const onVoices = (changed) => speech?.addEventListener?.("voiceschanged", changed);

/** Say it; returns whether it was handed to a voice. */
export function say(text, language) {
  if (isMuted()) return false;
  const voice = voiceFor(language);
  if (!voice) return false;
  speech.cancel();
  const words = new SpeechSynthesisUtterance(text);
  words.voice = voice;
  words.lang = voice.lang;
  speech.speak(words);
  return true;
}

export const hush = () => speech?.cancel();

/** Some browsers let a page speak only if its first words follow a tap. */
export function unlock() {
  if (unlocked || !speech || !/apple/i.test(navigator.vendor ?? "")) return;
  if (navigator.userActivation && !navigator.userActivation.isActive) return; // no tap
  unlocked = true;
  const silence = new SpeechSynthesisUtterance(" ");
  silence.volume = 0;
  speech.speak(silence);
}
let unlocked = false;
