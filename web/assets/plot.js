// Line charts as SVG, in the page's colours.
import { h, label, short } from "./dom.js";

/** A plot's scales; `add` draws in it. */
export class Plot {
  constructor({ width = 640, height = 240, x, y, left = 44, bottom = 26, right = 12, top = 12, title }) {
    Object.assign(this, { width, height, x0: x[0], x1: x[1], y0: y[0], y1: y[1], left, bottom, right, top });
    this.element = h("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title });
  }

  px(value) {
    return this.left + ((value - this.x0) / (this.x1 - this.x0 || 1)) * (this.width - this.left - this.right);
  }

  py(value) {
    return this.height - this.bottom - ((value - this.y0) / (this.y1 - this.y0 || 1)) * (this.height - this.top - this.bottom);
  }

  /** Return the value at a pixel of the element's own coordinates. */
  value(pixel) {
    return this.y0 + ((this.height - this.bottom - pixel) / (this.height - this.top - this.bottom)) * (this.y1 - this.y0);
  }

  frame(columns, rows) {
    for (const value of rows) {
      this.add(h("line", { class: "grid", x1: this.left, x2: this.width - this.right, y1: this.py(value), y2: this.py(value) }));
      this.add(label(this.left - 7, this.py(value) + 4, short(value), "end"));
    }
    for (const value of columns) this.add(label(this.px(value), this.height - 8, String(value), "middle"));
    return this;
  }

  line(xs, ys, kind) {
    const points = xs.map((value, at) => `${this.px(value).toFixed(1)},${this.py(ys[at]).toFixed(1)}`).join(" ");
    this.add(h("polyline", { class: kind, points }));
    return this;
  }

  add(element) {
    this.element.append(element);
    return element;
  }
}

/** Return the width of a plot in an element: text keeps its size on a phone. */
export const roomFor = (element) => Math.max(320, Math.min(900, element.clientWidth || 900));

/** Return about `count` round numbers within a range. */
export function ticks(low, high, count = 5) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => raw <= factor * power);
  const result = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) result.push(Number(value.toPrecision(10)));
  return result;
}
