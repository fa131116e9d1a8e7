// When something new is held still before the camera. Pictures of 32 by 24 points in luma and chroma, five a second.
const WIDTH = 32, HEIGHT = 24;
const CHANGED = 0.035, STILL = 0.012;
const SETTLED = 3; // looks in a row
const FORGET = 150; // looks after which what stays is part of the scene

/** What the scene did: "empty", "moving", "settled" (something new, until it is taken), or "same". */
export class Scene {
  #empty = null;
  #last = null;
  #shot = null;
  #still = 0;
  #since = 0;

  see(now) {
    const last = this.#last;
    this.#last = now;
    if (last === null) return "moving";
    this.#still = apart(now, last) < STILL ? this.#still + 1 : 0;
    if (this.#still < SETTLED) return "moving";
    if (this.#empty === null) this.#empty = now;
    if (apart(now, this.#empty) < CHANGED) {
      this.#empty = this.#empty.map((value, i) => value + 0.05 * (now[i] - value)); // daylight goes slowly
      this.#shot = null;
      return "empty";
    }
    if (this.#shot !== null && apart(now, this.#shot) < CHANGED) {
      this.#since += 1;
      if (this.#since > FORGET) this.#empty = now;
      return "same";
    }
    return "settled";
  }

  /** What is there has been taken: it is "same" from now on. */
  taken() {
    this.#shot = this.#last;
    this.#since = 0;
  }
}

/** Mean difference, 0 to 1, of luma less its mean (an exposure that adapts is no change) and of chroma. */
function apart(a, b) {
  const points = WIDTH * HEIGHT;
  let luma = 0;
  for (let i = 0; i < points; i += 1) luma += a[i] - b[i];
  luma /= points;
  let sum = 0;
  for (let i = 0; i < points; i += 1) {
    sum += Math.abs(a[i] - b[i] - 0.8 * luma) + Math.abs(a[points + i] - b[points + i]) + Math.abs(a[2 * points + i] - b[2 * points + i]);
  }
  return sum / points / 255;
}

/** RGBA points → luma, then two planes of chroma. */
export function planes(rgba) {
  const points = rgba.length / 4;
  const out = new Float32Array(3 * points);
  for (let i = 0; i < points; i += 1) {
    const [red, green, blue] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    out[i] = luma;
    out[points + i] = 0.564 * (blue - luma);
    out[2 * points + i] = 0.713 * (red - luma);
  }
  return out;
}

/** Look at a video until stopped; `saw` gets what the scene does, and returns whether it took a photo. */
export function watchScene(video, saw) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const scene = new Scene();
  const timer = setInterval(() => {
    if (document.hidden || video.hidden || !video.videoWidth) return;
    pen.drawImage(video, 0, 0, WIDTH, HEIGHT);
    if (saw(scene.see(planes(pen.getImageData(0, 0, WIDTH, HEIGHT).data)))) scene.taken();
  }, 200);
  return () => clearInterval(timer);
}
