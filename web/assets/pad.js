// A pad to draw a digit on, with a pointer, a finger or the arrow keys.
import { colour, onScheme } from "./dom.js";

const SIZE = 256;
const PEN = 11;

export class Pad {
  #strokes = [];
  #image = null;
  #pen = { x: SIZE / 2, y: SIZE / 2, down: false, shown: false };

  /** `changed` hears of every change; `label` is what a screen reader says. */
  constructor(label, changed) {
    this.changed = changed;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "pad";
    this.canvas.width = this.canvas.height = SIZE * 2;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.mask = new OffscreenCanvas(SIZE, SIZE);
    this.#listen();
    onScheme(() => this.#paint());
    this.#paint();
  }

  get size() {
    return SIZE;
  }

  /** Return the ink of each pixel, 0 to 1, from left to right and down. */
  ink() {
    const context = this.mask.getContext("2d", { willReadFrequently: true });
    context.clearRect(0, 0, SIZE, SIZE);
    context.lineWidth = PEN * 2;
    this.#trace(context);
    const { data } = context.getImageData(0, 0, SIZE, SIZE);
    return Float32Array.from({ length: SIZE * SIZE }, (_, at) => data[at * 4 + 3] / 255);
  }

  get isEmpty() {
    return this.#strokes.length === 0;
  }

  clear() {
    this.#strokes = [];
    this.#image = null;
    this.#paint();
  }

  /** Show pixels from 0 to 1 in place of strokes: a sample of the data. */
  show(values, rows, columns) {
    this.#strokes = [];
    this.#image = { values, rows, columns };
    this.#paint();
  }

  /** Draw strokes given as lists of [x, y] from 0 to 1. */
  draw(strokes) {
    this.#image = null;
    this.#strokes = strokes.map((stroke) => stroke.map(([x, y]) => [x * SIZE, y * SIZE]));
    this.#paint();
    this.changed();
  }

  #listen() {
    const point = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.#pen.shown = false;
      this.#begin(point(event));
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.canvas.hasPointerCapture(event.pointerId)) return;
      for (const each of event.getCoalescedEvents?.() ?? [event]) this.#strokes.at(-1)?.push(point(each));
      this.#changed();
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => {
      this.#pen.shown = false;
      this.#paint();
    });
  }

  #begin(point) {
    if (this.#image) this.clear();
    this.#strokes.push([point]);
    this.#changed();
  }

  #key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === " " || event.key === "Enter") {
      this.#pen.down = !this.#pen.down;
      if (this.#pen.down) this.#begin([this.#pen.x, this.#pen.y]);
    } else if (move) {
      const step = event.shiftKey ? 4 : 12;
      this.#pen.x = Math.min(SIZE, Math.max(0, this.#pen.x + move[0] * step));
      this.#pen.y = Math.min(SIZE, Math.max(0, this.#pen.y + move[1] * step));
      if (this.#pen.down) {
        this.#strokes.at(-1)?.push([this.#pen.x, this.#pen.y]);
        this.#changed();
      }
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
      this.changed();
    } else return;
    event.preventDefault();
    this.#pen.shown = true;
    this.#paint();
  }

  #changed() {
    this.#paint();
    this.changed();
  }

  #trace(context) {
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.#strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : [[stroke[0][0] + 0.1, stroke[0][1]]]) context.lineTo(...point);
      context.stroke();
    }
  }

  #paint() {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const ink = colour("text").join(" ");
    if (this.#image) {
      const { values, rows, columns } = this.#image;
      const [height, width] = [this.canvas.height / rows, this.canvas.width / columns];
      values.forEach((value, at) => {
        context.fillStyle = `rgb(${ink} / ${value})`;
        context.fillRect((at % columns) * width, Math.floor(at / columns) * height, width + 0.5, height + 0.5);
      });
      return;
    }
    context.scale(2, 2);
    context.lineWidth = PEN * 2;
    context.strokeStyle = `rgb(${ink})`;
    this.#trace(context);
    if (this.#pen.shown) {
      context.beginPath();
      context.lineWidth = 2;
      context.strokeStyle = `rgb(${colour(this.#pen.down ? "blue" : "soft").join(" ")})`;
      context.arc(this.#pen.x, this.#pen.y, PEN, 0, 7);
      context.stroke();
    }
  }
}
