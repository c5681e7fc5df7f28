// A dense network with its trained weights: sliders go in, units light up, and each shows its sum.
import { Bars } from "./bars.js";
import { slider } from "./controls.js";
import { get, h, label, short, t } from "./dom.js";
import { Model, newest } from "./ort.js";

const WIDTH = 640;
const HEIGHT = 340;

export async function start(place, name) {
  const page = await (await get(`data/${name}/page.json`)).json();
  const taps = await Model.open(`data/${name}/taps.onnx`);
  const input = page.inputs[0].name;
  const values = page.features.map(({ middle }) => middle);
  const dense = page.nodes.filter(({ op }) => op === "Gemm");
  const tensors = dense.map((node) => {
    const next = page.nodes.find((each) => each.inputs.includes(node.outputs[0]));
    return next.outputs[0];
  });
  const feeds = () => ({ [input]: { shape: [1, values.length], data: Float32Array.from(values) } });
  const weights = await taps.run(feeds(), dense.flatMap((node) => node.weights));
  const columns = [dense[0].inputs[0], ...tensors];
  const sizes = [values.length, ...dense.map((node) => weights[node.weights[0]].shape[1])];
  const at = (column, unit) => [120 + (column * (WIDTH - 240)) / (sizes.length - 1), HEIGHT / 2 + (unit - (sizes[column] - 1) / 2) * Math.min(58, (HEIGHT - 40) / sizes[column])];
  const svg = h("svg", { class: "network", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": name });
  const equation = h("p", { class: "equation", role: "status", text: t("network_hint") });
  const bars = new Bars(page.classes);
  const lines = [];
  const units = [];

  dense.forEach((node, layer) => {
    const { shape, data } = weights[node.weights[0]];
    const most = Math.max(...data.map(Math.abs));
    for (let from = 0; from < shape[0]; from++)
      for (let to = 0; to < shape[1]; to++) {
        const weight = data[from * shape[1] + to];
        const [[x1, y1], [x2, y2]] = [at(layer, from), at(layer + 1, to)];
        const line = h("line", { class: weight > 0 ? "pos" : "neg", x1, y1, x2, y2, "stroke-width": 0.5 + (4 * Math.abs(weight)) / most, "stroke-opacity": 0.25 + (0.6 * Math.abs(weight)) / most });
        lines.push({ line, layer, to });
        svg.append(line);
      }
  });
  sizes.forEach((size, column) => {
    for (let unit = 0; unit < size; unit++) {
      const [x, y] = at(column, unit);
      const fill = h("circle", { class: "on", cx: x, cy: y, r: 11 });
      const edge = h("circle", { class: "unit", cx: x, cy: y, r: 11 });
      svg.append(edge, fill);
      units.push({ column, unit, fill });
      if (column === 0) svg.append(label(x - 20, y + 4, page.features[unit].name.replace(/ \(.*/, ""), "end"));
      else if (column === sizes.length - 1) svg.append(label(x + 20, y + 4, page.classes[unit]));
      if (column === 0) continue;
      for (const each of [edge, fill]) {
        each.setAttribute("tabindex", each === fill ? 0 : -1);
        for (const kind of ["pointerenter", "focus", "click"]) each.addEventListener(kind, () => explain(column, unit));
        for (const kind of ["pointerleave", "blur"]) each.addEventListener(kind, () => lines.forEach(({ line }) => line.classList.remove("dim")));
      }
      fill.setAttribute("role", "img");
      fill.setAttribute("aria-label", t("unit", { number: unit + 1 }));
    }
  });

  let seen = null;
  function explain(column, unit) {
    if (!seen) return;
    for (const { line, layer, to } of lines) line.classList.toggle("dim", layer !== column - 1 || to !== unit);
    const node = dense[column - 1];
    const { shape, data } = weights[node.weights[0]];
    const inputs = seen[columns[column - 1]].data;
    const terms = Array.from(inputs, (value, from) => `${short(value, 2)} × ${short(data[from * shape[1] + unit], 2)}`);
    const bias = weights[node.weights[1]].data[unit];
    const value = seen[node.outputs[0]].data[unit];
    equation.textContent = t("hidden_unit", { number: unit + 1, terms: `${terms.join(" + ")} + ${short(bias, 2)}`, value: short(value) });
    place.dataset.value = value;
  }

  const run = newest(async () => {
    seen = await taps.run(feeds(), [columns[0], ...dense.map((node) => node.outputs[0]), ...tensors]);
    for (const { column, unit, fill } of units) {
      const { data } = seen[columns[column]];
      const most = Math.max(...data.map(Math.abs), 1e-9);
      fill.setAttribute("fill-opacity", Math.min(1, Math.max(0, data[unit]) / most));
    }
    bars.show(Array.from(seen[tensors.at(-1)].data));
  });
  const sliders = page.features.map((feature, place_) =>
    slider(feature.name, { low: feature.low, high: feature.high, step: (feature.high - feature.low) / 100, value: feature.middle }, (value) => {
      values[place_] = value;
      run();
    }),
  );
  place.replaceChildren(h("div", { class: "stack-gap" }, h("div", { class: "sliders" }, ...sliders), h("div", { class: "scroll" }, svg), equation, bars.element));
  await run();
}
