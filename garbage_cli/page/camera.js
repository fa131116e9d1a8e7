// The camera: which one, why there is none, and pictures from it, no larger than the model needs.
import { recall, remember } from "./store.js";

const WHY = { NotAllowedError: "whyDenied", SecurityError: "whyDenied", NotFoundError: "whyNone", OverconstrainedError: "whyNone", NotReadableError: "whyTaken", AbortError: "whyTaken" };
const SIZE = { width: { ideal: 1280 }, height: { ideal: 960 } };

export class Camera {
  #video;
  #stream = null;
  #turn = 0;
  /** Called when the camera is lost. */
  onLost = () => {};

  constructor(video) {
    this.#video = video;
  }

  get live() {
    return this.#stream !== null;
  }

  /** Whether the picture is of who holds the device, and is shown as a mirror shows it. */
  get selfie() {
    return this.#stream?.getVideoTracks()[0].getSettings().facingMode === "user";
  }

  /** Start the camera that was chosen last; returns "" or the name of the reason why there is none. */
  async start(choice = recall("camera", { facingMode: "environment" })) {
    if (!navigator.mediaDevices?.getUserMedia) return isSecureContext ? "whyUnsupported" : "whyInsecure";
    this.stop();
    const turn = this.#turn;
    let stream;
    try {
      stream = await this.#open(choice);
    } catch (error) {
      return turn === this.#turn ? WHY[error.name] ?? "whyNone" : "";
    }
    if (turn !== this.#turn) { // stopped, or started again, while the browser asked
      for (const track of stream.getTracks()) track.stop();
      return "";
    }
    this.#stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (this.#stream !== stream) return;
      this.stop();
      this.onLost();
    });
    this.#video.srcObject = stream;
    this.#video.hidden = false;
    await this.#video.play().catch(() => {});
    return "";
  }

  async #open(choice) {
    const asked = choice.deviceId ? { deviceId: { exact: choice.deviceId } } : { facingMode: { ideal: choice.facingMode } };
    try {
      return await navigator.mediaDevices.getUserMedia({ video: { ...asked, ...SIZE } });
    } catch (error) {
      if (error.name !== "OverconstrainedError" && error.name !== "NotFoundError") throw error;
      return navigator.mediaDevices.getUserMedia({ video: true }); // the one chosen last is not here today
    }
  }

  stop() {
    this.#turn += 1;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    this.#video.hidden = true;
  }

  /** How many there are; known only once one is allowed. */
  async count() {
    const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
    return devices.filter((each) => each.kind === "videoinput").length;
  }

  /** The next camera: front or back on a phone, one after another elsewhere. */
  async flip() {
    const now = this.#stream?.getVideoTracks()[0].getSettings() ?? {};
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
    const at = devices.findIndex((each) => each.deviceId === now.deviceId);
    const turned = now.facingMode && { facingMode: now.facingMode === "user" ? "environment" : "user" };
    const choice = turned || { deviceId: devices[(at + 1) % devices.length]?.deviceId };
    const before = recall("camera", null);
    remember("camera", choice);
    const why = await this.start(choice);
    if (why) remember("camera", before ?? { facingMode: "environment" });
    return why;
  }

  /**
   * Draw what the screen shows of the picture around the frame: what lies outside of it is not sent, and the frame is in the
   * middle, where the model looks.
   */
  grab(canvas, short, frame) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width || !height) return false;
    const screen = this.#video.getBoundingClientRect();
    const scale = Math.max(screen.width / width, screen.height / height) || 1;
    const { left, top, width: wide, height: high } = frame.getBoundingClientRect();
    const part = (start, size, at, whole) => {
      const middle = Math.min(Math.max(at - start, size / 8), size * 7 / 8);
      const half = Math.min(middle, size - middle); // to the nearer edge
      return { from: whole / 2 + (middle - half - size / 2) / scale, size: (2 * half) / scale };
    };
    const x = part(screen.left, screen.width, left + wide / 2, width);
    const y = part(screen.top, screen.height, top + high / 2, height);
    draw(canvas, this.#video, { x: x.from, y: y.from, width: x.size, height: y.size }, short);
    return true;
  }
}

/** Draw a part of a picture so that its shorter side is `short` at most, and its longer one four times that. */
function draw(canvas, picture, part, short) {
  const scale = Math.min(1, short / Math.min(part.width, part.height), (4 * short) / Math.max(part.width, part.height));
  canvas.width = Math.max(1, Math.round(part.width * scale));
  canvas.height = Math.max(1, Math.round(part.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff"; // under what is transparent, as the server has it
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, part.x, part.y, part.width, part.height, 0, 0, canvas.width, canvas.height);
}

/** Draw a file upright; false if the browser can't read it. */
export async function drawFile(canvas, file, short) {
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => createImageBitmap(file)); // older browsers
  } catch {
    return false;
  }
  draw(canvas, picture, { x: 0, y: 0, width: picture.width, height: picture.height }, short);
  picture.close();
  return true;
}

/** A canvas as a JPEG. */
export const encode = (canvas) =>
  new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no memory for the photo"))), "image/jpeg", 0.9));

/** A small picture for the history, as a data URL. */
export function thumbnail(canvas, side = 112) {
  const small = document.createElement("canvas");
  draw(small, canvas, { x: 0, y: 0, width: canvas.width, height: canvas.height }, side);
  return small.toDataURL("image/jpeg", 0.7);
}
