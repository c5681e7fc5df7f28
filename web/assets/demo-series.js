// The sunspots: drag the last years, extend the series by forecasts, and watch the cells and gates.
import { get, h, onScheme, short, t } from "./dom.js";
import { feedsOf, largestDifference, Model, newest } from "./ort.js";
import { Plot, roomFor, ticks } from "./plot.js";
import { unrolled } from "./recurrent.js";

/** Years of the past that the chart shows, and years that a model of any length reads. */
const PAST = 45;
const READ = 11;

/** The models that differ in return_sequences alone. */
const PAIR = { lstm_sunspots: "lstm_sunspots_sequence", lstm_sunspots_sequence: "lstm_sunspots" };

const GATES = {
  LSTM: [["cell", "cells"], ["hidden", "hidden"], ["input", "input_gate"], ["forget", "forget_gate"], ["output", "output_gate"]],
  GRU: [["hidden", "hidden"], ["update", "update_gate"], ["reset", "reset_gate"]],
};
const NOTES = { cells: "cells_note", hidden: "hidden_note", input_gate: "input_note", forget_gate: "forget_note", output_gate: "output_note", update_gate: "update_note", reset_gate: "reset_note" };

export async function start(context) {
  const demo = new Series(context);
  await demo.open();
  await demo.update();
}

class Series {
  constructor(context) {
    this.context = context;
    this.chart = h("div");
    this.states = h("div", { class: "stack-gap" });
    this.reading = h("p", { class: "reading-answer", "aria-live": "polite" });
    this.checked = h("p", { class: "note" });
    this.update = newest(() => this.#run());
  }

  async open() {
    const { page, place, name } = this.context;
    this.values = [...page.series.values];
    this.from = page.series.from;
    this.given = this.values.length;
    this.models = { [name]: await opened(name, page, this.context.model, this.context.taps) };
    this.name = name;
    const button = (key, action) => h("button", { type: "button", class: "plain", text: t(key), onclick: action });
    const controls = h(
      "div",
      { class: "buttons" },
      button("extend", () => this.#extend(1)),
      button("extend_more", () => this.#extend(11)),
      button("reset", () => this.#reset()),
      PAIR[name] ? this.#sequences() : null,
    );
    place.replaceChildren(h("div", { class: "stack-gap" }, h("div", { class: "row-between" }, this.reading, controls), this.chart, this.states, this.checked));
    onScheme(() => this.update());
  }

  get model() {
    return this.models[this.name];
  }

  get window() {
    return this.model.page.inputs[0].shape[1] > 0 ? this.model.page.inputs[0].shape[1] : READ;
  }

  /** The switch between the two models that differ in return_sequences. */
  #sequences() {
    const names = ["lstm_sunspots", "lstm_sunspots_sequence"];
    const buttons = names.map((name, at) =>
      h("button", {
        type: "button",
        text: t(at ? "sequences_on" : "sequences_off"),
        "aria-pressed": name === this.name,
        "data-sequences": at ? "on" : "off",
        onclick: async () => {
          this.models[name] ??= await opened(name);
          this.name = name;
          buttons.forEach((each, place) => each.setAttribute("aria-pressed", names[place] === name));
          await this.update();
        },
      }),
    );
    return h("span", { class: "row" }, h("code", { class: "note", text: t("return_sequences") }), h("span", { class: "segments" }, ...buttons));
  }

  async #extend(years) {
    for (let year = 0; year < years; year++) {
      const answers = await this.model.model.run(this.#feeds());
      this.values.push(Math.max(0, answers[this.#output()].data.at(-1)));
    }
    await this.update();
  }

  #reset() {
    this.values = [...this.context.page.series.values];
    return this.update();
  }

  #output() {
    return this.model.page.outputs[0].name;
  }

  #feeds() {
    const steps = this.values.slice(-this.window);
    return { [this.model.page.inputs[0].name]: { shape: [1, this.window, 1], data: Float32Array.from(steps) } };
  }

  async #run() {
    const { context, model } = this;
    const feeds = this.#feeds();
    const { node } = model;
    const before = node.inputs[0];
    const answers = await model.model.run(feeds);
    const tensors = await model.taps.run(feeds, [before, node.outputs[0]]);
    const forecasts = Array.from(answers[this.#output()].data);
    const year = this.from + this.values.length;
    this.reading.replaceChildren(short(forecasts.at(-1)), h("small", { text: t("forecast", { year }) }));
    context.place.dataset.answer = forecasts.at(-1);
    this.#draw(forecasts);
    const steps = Array.from(tensors[before].data, (value) => [value]);
    const seen = unrolled(node, model.weights, steps);
    this.#drawStates(seen, node);
    const mine = seen.flatMap((direction) => direction.map((step) => step.hidden));
    const own = perDirection(tensors[node.outputs[0]], seen.length);
    const difference = largestDifference(mine.flat(), own);
    this.checked.textContent = t("gates_checked", { value: difference.toExponential(1) });
    context.place.dataset.gates = difference;
    context.answered(feeds, answers, model.page);
  }

  #draw(forecasts) {
    const { values, from, window } = this;
    const first = Math.max(0, values.length - PAST);
    const years = Array.from({ length: values.length - first }, (_, at) => from + first + at);
    const shown = values.slice(first);
    const high = Math.max(160, ...shown, ...forecasts) * 1.05;
    const next = from + values.length;
    const plot = new Plot({ width: roomFor(this.chart), height: 300, x: [years[0], next], y: [0, high], title: t("years", { count: window }) });
    plot.frame(ticks(years[0], next, 8), ticks(0, high, 4));
    plot.add(h("rect", { class: "window", x: plot.px(next - window) - 8, y: plot.top, width: plot.px(next - 1) - plot.px(next - window) + 16, height: plot.height - plot.top - plot.bottom }));
    plot.line(years, shown, "line-a");
    const starts = next - forecasts.length + 1;
    if (forecasts.length > 1) plot.line(forecasts.map((_, at) => starts + at), forecasts, "line-b");
    else plot.line([next - 1, next], [values.at(-1), forecasts[0]], "line-b");
    forecasts.forEach((value, at) => plot.add(h("circle", { class: "forecast", cx: plot.px(starts + at), cy: plot.py(value), r: 6 })));
    for (let at = values.length - window; at < values.length; at++) this.#handle(plot, at);
    this.chart.replaceChildren(plot.element, h("p", { class: "note" }, t("years", { count: window }), h("span", { class: "key b", text: t("forecast_line") })));
    if (this.focused >= values.length - window) plot.element.querySelector(`[data-at="${this.focused}"]`)?.focus({ preventScroll: true });
  }

  /** A point that can be dragged, or moved by keys. */
  #handle(plot, at) {
    const handle = plot.add(
      h("circle", { class: "handle", cx: plot.px(this.from + at), cy: plot.py(this.values[at]), r: 8, tabindex: 0, role: "slider", "data-at": at, "aria-label": t("year", { year: this.from + at }), "aria-valuemin": 0, "aria-valuemax": 300, "aria-valuenow": Math.round(this.values[at]) }),
    );
    const set = (value) => {
      this.values[at] = Math.min(300, Math.max(0, value));
      this.update();
    };
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const box = plot.element.getBoundingClientRect();
      const move = (moved) => set(plot.value(((moved.clientY - box.top) / box.height) * plot.height));
      addEventListener("pointermove", move);
      addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
    });
    handle.addEventListener("focus", () => (this.focused = at));
    handle.addEventListener("blur", () => handle.isConnected && (this.focused = undefined));
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 5, ArrowDown: -5, PageUp: 25, PageDown: -25 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.focused = at;
      set(this.values[at] + step);
    });
  }

  #drawStates(directions, node) {
    const years = directions[0].map((_, at) => this.from + this.values.length - directions[0].length + at);
    this.states.replaceChildren(
      ...directions.map((steps, direction) => {
        const plots = GATES[node.op].map(([key, title]) => {
          const isGate = !["cell", "hidden"].includes(key);
          const all = steps.flatMap((step) => step[key]);
          const most = Math.max(1, ...all.map(Math.abs));
          const plot = new Plot({ width: 300, height: 150, x: [years[0], years.at(-1)], y: isGate ? [0, 1] : [-most, most], left: 34, title: t(title) });
          plot.frame(years.length > 6 ? [years[0], years.at(-1)] : years, isGate ? [0, 0.5, 1] : [-most, 0, most].map((value) => Number(value.toPrecision(2))));
          steps[0][key].forEach((_, unit) => plot.line(years, steps.map((step) => step[key][unit]), `line-${unit % 3}`));
          return h("div", {}, h("h3", { text: t(title) }), h("p", { text: t(NOTES[title]) }), plot.element);
        });
        const title = directions.length > 1 ? h("h3", { text: t(direction ? "direction_backward" : "direction_forward") }) : null;
        return h("div", {}, title, h("div", { class: "small-plots" }, ...plots));
      }),
      h("p", { class: "note" }, ...directions[0][0].hidden.map((_, unit) => h("span", { class: `key ${["a", "b", "c"][unit % 3]}`, text: t("unit", { number: unit + 1 }) }))),
    );
  }
}

/** Open a model with what the demonstration reads from it. */
async function opened(name, page, model, taps) {
  page ??= await (await get(`data/${name}/page.json`)).json();
  model ??= await Model.open(`data/${name}/model.onnx`);
  taps ??= await Model.open(`data/${name}/taps.onnx`);
  const node = page.nodes.find(({ op }) => op in GATES);
  return { page, model, taps, node, weights: await taps.run(feedsOf(page.example), node.weights) };
}

/** Return a recurrent node's outputs of (steps, directions, batch, units), direction by direction. */
function perDirection({ shape: [steps, directions, , units], data }, count) {
  const values = [];
  for (let direction = 0; direction < count; direction++)
    for (let step = 0; step < steps; step++) for (let unit = 0; unit < units; unit++) values.push(data[(step * directions + direction) * units + unit]);
  return values;
}
