// What the page says, in Chinese and English. The words for bins and kinds come from the server.
const WORDS = {
  title: ["垃圾分类", "Which bin?"],
  camera: ["相机", "Camera"],
  shoot: ["拍照", "Photo"],
  photo: ["照片", "Photo"],
  pick: ["选择照片", "Choose a photo"],
  flip: ["切换摄像头", "Other camera"],
  mute: ["静音", "Mute the voice"],
  noVoice: ["这台设备没有安装中文语音，所以不会读出答案。", "This device has no English voice installed, so answers are not read out."],
  settings: ["设置", "Settings"],
  history: ["记录", "History"],
  historyNote: ["记录只保存在这台设备上。", "History stays on this device."],
  today: ["今天", "Today"],
  lastAnswers: ["最近的回答", "Last answers"],
  nothingYet: ["还没有回答。", "No answers yet."],
  clear: ["清空记录", "Clear history"],
  close: ["关闭", "Close"],
  right: ["对", "Right"],
  wrong: ["不对", "Wrong"],
  choose: ["是什么？", "What is it?"],
  change: ["更改", "Change"],
  again: ["再来一张", "Next photo"],
  whatIsIt: ["这是什么？", "What is it?"],
  likely: ["可能是", "Likeliest"],
  noBin: ["其他种类", "Further kinds"],
  noneOfThese: ["都不是", "None of these"],
  notListed: ["不在列表中", "Not in the list"],
  unsure: ["不确定", "Not sure"],
  maybe: ["最可能的两个桶", "The two likeliest bins"],
  others: ["也可能是：", "Or: "],
  thanks: ["谢谢，已记下。", "Thank you, noted."],
  thanksNone: ["谢谢，已记下：都不是。", "Thank you, noted: none of the kinds."],
  notSent: ["只记在这台设备上：没能送到服务器。", "Noted on this device only: the server could not be told."],
  region: ["地区叫法", "Region's words"],
  handsfree: ["自动拍照", "Hands-free"],
  handsfreeNote: ["把东西放到镜头前不动，就会自动拍照。", "Takes a photo when something new is held still before the camera."],
  collect: ["保存我的照片，用来改进识别", "Keep my photos to make the answers better"],
  collectNote: ["照片和更正会保存在这台服务器上。", "Photos and corrections are kept on this server."],
  collecting: ["照片会保存在服务器上，用来改进识别；可在设置中关闭。", "Photos are kept on the server to make the answers better; Settings turns that off."],
  collectingKiosk: ["照片会保存在服务器上，用来改进识别。", "Photos are kept on the server to make the answers better."],
  key: ["API 密钥", "API key"],
  keyNote: ["只在服务器要求时需要，保存在这台设备上。", "Needed only where the server asks for one; kept on this device."],
  needsKey: ["服务器要求 API 密钥，请填写。", "The server asks for an API key. Please enter it."],
  wrongKey: ["服务器不接受这个 API 密钥，请检查后重新填写。", "The server does not accept this API key. Please check it and enter it again."],
  needsKeyKiosk: ["服务器要求 API 密钥：请在这个浏览器里打开 {0}，在设置中填写。", "The server asks for an API key: open {0} in this browser and enter it in Settings."],
  wrongKeyKiosk: ["服务器不接受 API 密钥：请在这个浏览器里打开 {0}，在设置中重新填写。", "The server does not accept the API key: open {0} in this browser and enter it again in Settings."],
  looking: ["正在识别……", "Looking …"],
  away: ["连不上服务器，正在重试……", "The server is away; trying again …"],
  back: ["服务器已恢复。", "The server is back."],
  busy: ["服务器忙，正在重试……", "The server is busy; trying again …"],
  notAPhoto: ["这个文件不是能读的照片，请换一张。", "This file is no photo that can be read. Please choose another."],
  tooLarge: ["照片太大，请换一张小一些的。", "This photo is too large. Please choose a smaller one."],
  failed: ["没能回答：", "No answer: "],
  invite: ["把垃圾放到镜头前", "Hold your waste up to the camera"],
  whyInsecure: ["浏览器只在 https 页面上开放摄像头。可以点下面的按钮拍照或选择照片。", "Browsers give the camera to https pages only. The button below takes or chooses a photo."],
  whyUnsupported: ["这个浏览器不支持摄像头。可以点下面的按钮选择照片。", "This browser has no camera support. The button below chooses a photo."],
  whyDenied: ["摄像头权限被拒绝。可以在浏览器的网站设置中允许，或选择照片。", "The camera was not allowed. Allow it in the browser's settings for this site, or choose a photo."],
  whyNone: ["没有找到摄像头。可以选择照片，也可以拖入或粘贴。", "No camera was found. Choose a photo, drop one here, or paste one."],
  whyTaken: ["摄像头正被其他程序使用。关闭那个程序，或选择照片。", "Another program has the camera. Close it, or choose a photo."],
  model: ["模型：{0}，{1} 种", "Model: {0}, {1} kinds"],
  corrected: ["已更正", "corrected"],
  confirmed: ["已确认", "confirmed"],
};

let language = "zh";

export const languageNow = () => language;
/** For `lang` attributes. */
export const tagOf = (which) => (which === "zh" ? "zh-Hans" : "en");
export const otherLanguage = () => (language === "zh" ? "en" : "zh");

export const inLanguage = (name, which) => WORDS[name][which === "zh" ? 0 : 1];

export function t(name, ...values) {
  return values.reduce((said, value, i) => said.replace(`{${i}}`, () => value), inLanguage(name, language));
}

/** Put the page into a language. */
export function speakIn(which) {
  language = which === "en" ? "en" : "zh";
  document.documentElement.lang = tagOf(language);
  document.title = t("title");
  for (const each of document.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
  for (const each of document.querySelectorAll("[data-t-label]")) {
    each.setAttribute("aria-label", t(each.dataset.tLabel));
    if (each instanceof HTMLButtonElement) each.title = t(each.dataset.tLabel);
  }
}

/** Chinese or English of a pair that may lack one. */
export const pick = (pair, which = language) =>
  (which === "zh" ? pair?.chinese || pair?.english : pair?.english || pair?.chinese) || "";
