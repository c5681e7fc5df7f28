// The layers of a convolutional model, each with what it answers now, and the arithmetic behind a pixel.
import { h, short, t } from "./dom.js";
import { paintMap } from "./maps.js";

const ACTIVATIONS = new Set(["Relu", "Sigmoid", "Softmax", "Tanh"]);
const SHOWN = new Set(["Conv", "MaxPool", "GlobalAveragePool", "Gemm"]);

/** Return the stages of a graph: a node with the activation that follows it, and the tensor it gives. */
export function stagesOf(nodes, layers) {
  const calls = new Map(layers.map((layer) => [layer.name, layer]));
  return nodes
    .filter((node) => SHOWN.has(node.op))
    .map((node) => {
      const next = nodes.find((other) => other.inputs.includes(node.outputs[0]));
      const activation = next && ACTIVATIONS.has(next.op) ? next : null;
      return { node, activation, tensor: (activation ?? node).outputs[0], layer: calls.get(node.layer) };
    });
}

/** Return the names of the kernels and biases that explanations need. */
export const weightsOf = (stages) => stages.flatMap(({ node }) => (node.op === "Conv" ? node.weights : []));

/** Return the names of the tensors that are shown or explained. */
export const tensorsOf = (stages) => [...new Set(stages.flatMap(({ node, tensor }) => [tensor, ...(node.op === "Gemm" ? [] : node.inputs)]))];

function call(stage) {
  const options = Object.entries(stage.layer?.options ?? {}).map(([key, value]) => {
    const text = Array.isArray(value) ? `(${value.join(", ")})` : typeof value === "string" ? `"${value}"` : value;
    return `${key}=${text}`;
  });
  return `${stage.layer?.type ?? stage.node.op}(${options.join(", ")})`;
}

const cellSize = (count) => (count <= 4 ? 108 : count <= 8 ? 84 : count <= 16 ? 60 : count <= 32 ? 46 : 38);

/** Return which of the graph's inputs a tensor comes from. */
function inputOf(nodes, tensor) {
  const producer = nodes.find(({ outputs }) => outputs.includes(tensor));
  return producer ? inputOf(nodes, producer.inputs[0]) : tensor;
}

/** Shows the stages of a graph; `weights` are the taps' weights, `seen` where each input is seen, by name. */
export class Stages {
  #views;
  #tensors = null;
  #chosen = null;
  #nodes;
  #seen;

  constructor(stages, weights, seen, nodes) {
    this.stages = stages;
    this.weights = weights;
    this.#seen = seen;
    this.#nodes = nodes;
    this.hint = h("p", { class: "note", text: t("hover_hint") });
    this.explanation = h("div", { class: "explain", role: "status" });
    this.#views = stages.map((stage, at) => this.#view(stage, at));
    this.element = h("div", { class: "stages" }, ...this.#views.map((view) => view.element));
  }

  /** Show what the taps gave. */
  async show(tensors) {
    const isFirst = this.#tensors === null;
    this.#tensors = tensors;
    for (const [at, stage] of this.stages.entries()) {
      this.#paint(stage, this.#views[at], tensors[stage.tensor]);
      // The first time hundreds of canvases are made: a task each, so that the page stays responsive.
      if (isFirst) await new Promise((resolve) => setTimeout(resolve));
    }
    if (this.#chosen) this.#explain(...this.#chosen);
  }

  #view(stage, at) {
    const body = h("div", { class: "maps" });
    const shape = h("span");
    const element = h("section", { class: "stage" }, h("div", { class: "stage-head" }, h("code", { text: call(stage) }), shape), body);
    body.addEventListener("pointermove", (event) => this.#hover(event, at, body));
    body.addEventListener("click", (event) => this.#hover(event, at, body));
    body.addEventListener("keydown", (event) => this.#key(event, at, body));
    return { element, body, shape, canvases: [] };
  }

  #paint(stage, view, { shape, data }) {
    const isMap = shape.length === 4 && shape[2] * shape[3] > 1;
    if (!isMap) return this.#paintVector(view, data);
    const [, channels, rows, columns] = shape;
    view.shape.textContent = `${rows} × ${columns} × ${channels}`;
    if (!view.canvases.length) {
      view.body.style.setProperty("--cell", `${cellSize(channels)}px`);
      view.canvases = Array.from({ length: channels }, (_, channel) =>
        h("canvas", { tabindex: channel ? -1 : 0, role: "img", "aria-label": t("map", { number: channel + 1 }) }),
      );
      view.body.append(...view.canvases);
    }
    const scale = Math.max(...data.map(Math.abs));
    view.canvases.forEach((canvas, channel) =>
      paintMap(canvas, data.subarray(channel * rows * columns, (channel + 1) * rows * columns), rows, columns, scale),
    );
  }

  #paintVector(view, data) {
    view.shape.textContent = `${data.length}`;
    if (!view.canvases.length) {
      view.canvases = [h("canvas", { class: "vector", role: "img", "aria-label": t("vector") })];
      view.body.replaceWith(view.canvases[0]);
    }
    paintMap(view.canvases[0], data, 1, data.length, Math.max(...data.map(Math.abs)));
  }

  #hover(event, at, body) {
    const canvas = event.target.closest("canvas");
    if (!canvas || !this.#tensors) return;
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
    this.#choose(at, [...body.children].indexOf(canvas), y, x);
  }

  #key(event, at, body) {
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const next = { PageDown: 1, PageUp: -1 }[event.key];
    if (!move && !next) return;
    event.preventDefault();
    const canvases = [...body.querySelectorAll("canvas")];
    let channel = canvases.indexOf(document.activeElement);
    if (next) {
      channel = (channel + next + canvases.length) % canvases.length;
      canvases[channel].focus();
    }
    const [y, x] = this.#chosen?.[0] === at ? this.#chosen.slice(2) : [0, 0];
    this.#choose(at, channel, y + (move?.[0] ?? 0), x + (move?.[1] ?? 0));
  }

  #choose(at, channel, y, x) {
    const canvas = this.#views[at].canvases[channel];
    if (!canvas) return;
    const clamp = (value, high) => Math.max(0, Math.min(high - 1, value));
    this.#chosen = [at, channel, clamp(y, canvas.height), clamp(x, canvas.width)];
    this.#explain(...this.#chosen);
  }

  #explain(at, channel, y, x) {
    const { node, activation, tensor } = this.stages[at];
    const source = this.#tensors[node.inputs[0]];
    const value = at4(this.#tensors[tensor], channel, y, x);
    const window = windowOf(node, source.shape, y, x);
    const where = t("pixel", { map: channel + 1, row: y + 1, column: x + 1 });
    const [from, parts] =
      node.op === "Conv" ? this.#convolution(node, activation, source, window, channel, value) : [channel, this.#pooling(source, window, channel, value)];
    this.#mark(at, channel, y, x, node, window, from);
    this.explanation.classList.add("filled");
    this.explanation.replaceChildren(h("p", { text: where }), ...parts);
    this.explanation.dataset.value = value;
  }

  #convolution(node, activation, source, window, channel, value) {
    const kernels = this.weights[node.weights[0]];
    const bias = node.weights[1] ? this.weights[node.weights[1]].data[channel] : 0;
    const sums = Array.from({ length: source.shape[1] }, (_, from) => products(source, kernels, window, from, channel));
    const strongest = sums.reduce((best, each, at) => (Math.abs(each.sum) > Math.abs(sums[best].sum) ? at : best), 0);
    const shown = sums[strongest];
    const total = sums.reduce((sum, each) => sum + each.sum, 0) + bias;
    const others = total - bias - shown.sum;
    const lines = [
      t("sum_of_products", { value: short(shown.sum) }),
      ...(sums.length > 1 ? [t("other_maps", { count: sums.length - 1, value: short(others) })] : []),
      t("bias", { value: short(bias) }),
      `= ${short(total)}`,
    ];
    this.explanation.dataset.total = total;
    const result = activation?.op === "Relu" ? `relu(${short(total)}) = ` : "= ";
    const from = sums.length > 1 ? t("window_of", { number: strongest + 1 }) : t("window");
    const row = [
      h(
        "div",
        { class: "sum-row" },
        numbers(shown.window, window, from),
        h("span", { class: "operator", text: "×" }),
        numbers(shown.kernel, window, t("kernel")),
        h("span", { class: "operator", text: "=" }),
        numbers(shown.products, window, t("products")),
        h("div", { class: "total" }, ...lines.flatMap((line) => [line, h("br")]), result, h("strong", { text: short(value) })),
      ),
    ];
    return [strongest, row];
  }

  #pooling(source, window, channel, value) {
    const values = window.cells.map(({ y, x, inside }) => (inside ? at4(source, channel, y, x) : null));
    return [
      h(
        "div",
        { class: "sum-row" },
        numbers(values, window, t("window")),
        h("div", { class: "total" }, t("largest_of", { count: values.length }), h("strong", { text: short(value) })),
      ),
    ];
  }

  /** Frame the pixel, and the window it comes from in map `from` of the stage before. */
  #mark(at, channel, y, x, node, window, from) {
    for (const each of document.querySelectorAll(".frame")) each.remove();
    for (const view of this.#views) for (const canvas of view.canvases) canvas.classList.remove("chosen");
    const canvas = this.#views[at].canvases[channel];
    canvas.classList.add("chosen");
    frame(canvas, y, x, 1, 1);
    const before = this.stages.findIndex((stage) => stage.tensor === node.inputs[0]);
    const sources = before < 0 ? [this.#seen[inputOf(this.#nodes, node.inputs[0])]] : this.#views[before].canvases;
    frame(sources[from] ?? sources[0], window.top, window.left, window.rows, window.columns);
  }
}

function at4({ shape, data }, channel, y, x) {
  return data[(channel * shape[2] + y) * shape[3] + x];
}

/** Return the cells of the source that one output pixel sees; those beyond the border are padding. */
export function windowOf(node, shape, y, x) {
  const [rows, columns] = node.attributes.kernel_shape;
  const [down, right] = node.attributes.strides ?? [1, 1];
  const [above, before] = node.attributes.pads ?? [0, 0, 0, 0];
  const [top, left] = [y * down - above, x * right - before];
  const cells = [];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const [sy, sx] = [top + row, left + column];
      cells.push({ y: sy, x: sx, inside: sy >= 0 && sx >= 0 && sy < shape[2] && sx < shape[3] });
    }
  return { rows, columns, top, left, cells };
}

function products(source, kernels, window, from, channel) {
  const [, channels, rows, columns] = kernels.shape;
  const start = (channel * channels + from) * rows * columns;
  const kernel = Array.from(kernels.data.slice(start, start + rows * columns));
  const values = window.cells.map(({ y, x, inside }) => (inside ? at4(source, from, y, x) : null));
  const multiplied = values.map((value, at) => (value ?? 0) * kernel[at]);
  return { window: values, kernel, products: multiplied, sum: multiplied.reduce((sum, value) => sum + value, 0) };
}

/** Return a number that fits a cell. */
const few = (value) => (value !== 0 && Math.abs(value) < 0.005 ? "0.00" : short(value, 2));

/** Return numbers in a grid, coloured by size; null is padding. */
export function numbers(values, { columns }, title) {
  const scale = Math.max(...values.map((value) => Math.abs(value ?? 0))) || 1;
  const grid = h("div", { class: columns > 3 ? "numbers small" : "numbers" });
  grid.style.gridTemplateColumns = `repeat(${columns}, auto)`;
  for (const value of values) {
    const cell = h("span", { class: value === null ? "outside" : value < 0 ? "minus" : null, text: few(value ?? 0) });
    cell.style.setProperty("--share", 0.45 * (Math.abs(value ?? 0) / scale));
    grid.append(cell);
  }
  return h("div", { class: "grid-figure" }, grid, h("span", { text: title }));
}

/** Draw a frame over cells of a canvas. */
export function frame(canvas, top, left, rows, columns) {
  const parent = canvas.parentElement;
  const element = h("i", { class: "frame" });
  const [width, height] = [canvas.clientWidth / canvas.width, canvas.clientHeight / canvas.height];
  parent.style.position = "relative";
  Object.assign(element.style, {
    left: `${canvas.offsetLeft + canvas.clientLeft + left * width}px`,
    top: `${canvas.offsetTop + canvas.clientTop + top * height}px`,
    width: `${columns * width}px`,
    height: `${rows * height}px`,
  });
  parent.append(element);
}
