// A table's row by sliders: the answer, and its surface over two of the measurements.
import { Bars } from "./bars.js";
import { colour, h, onScheme, short, t } from "./dom.js";
import { newest } from "./ort.js";

const GRID = 48;

/** Measurements shown as sliders at once; the rest are behind a button. */
const FIRST = 10;

export function start(context) {
  const { page, place } = context;
  const input = page.inputs[0].name;
  const output = page.outputs[0].name;
  const features = page.features;
  const values = features.map(({ middle }) => middle);
  const classes = page.task === "binary" ? page.classes : page.task === "multiclass" ? page.classes : null;
  const bars = classes ? new Bars(classes) : null;
  const number = h("p", { class: "reading-answer", "aria-live": "polite" });
  const truth = h("p", { class: "note", "aria-live": "polite" });
  const sliders = features.map((feature, at) => slider(feature, at));
  const axes = [0, 1].map((axis) => axisChoice(axis, features, update));
  const [first, second] = mostTelling(page);
  axes[0].select.value = first;
  axes[1].select.value = second;
  const canvas = h("canvas", { width: GRID, height: GRID, tabindex: 0, role: "img", "aria-label": t("surface_label") });
  const overlay = h("canvas", { width: 720, height: 720, "aria-hidden": "true" });
  overlay.className = "overlay";
  let surface = null;

  function slider(feature, at) {
    const step = (feature.high - feature.low) / 100;
    const result = h("output", { text: short(values[at]) });
    const range = h("input", { type: "range", min: feature.low, max: feature.high, step, "aria-label": feature.name });
    range.value = values[at];
    range.addEventListener("input", () => {
      values[at] = Number(range.value);
      truth.textContent = "";
      update();
    });
    const show = () => {
      range.value = values[at];
      result.textContent = short(values[at]);
    };
    return { element: h("div", { class: "slider" }, h("span", {}, feature.name, result), range), show };
  }

  const run = newest(async () => {
    for (const each of sliders) each.show();
    const feeds = { [input]: { shape: [1, values.length], data: Float32Array.from(values) } };
    const answers = await context.model.run(feeds);
    showAnswer(Array.from(answers[output].data));
    context.answered(feeds, answers);
    await paintSurface();
  });

  function update() {
    return run();
  }

  function showAnswer(answer) {
    const shares = page.task === "binary" ? [1 - answer[0], answer[0]] : answer;
    if (bars) bars.show(shares);
    const best = shares.indexOf(Math.max(...shares));
    if (classes) number.replaceChildren(classes[best], h("small", { text: t("probability", { value: (100 * shares[best]).toFixed(1) }) }));
    else number.replaceChildren(short(answer[0]), h("small", { text: page.units }));
    place.dataset.answer = classes ? classes[best] : answer[0];
  }

  async function paintSurface() {
    const [across, upwards] = axes.map(({ select }) => Number(select.value));
    const rows = new Float32Array(GRID * GRID * values.length);
    for (let y = 0; y < GRID; y++)
      for (let x = 0; x < GRID; x++) {
        const start = (y * GRID + x) * values.length;
        rows.set(values, start);
        rows[start + across] = between(features[across], (x + 0.5) / GRID);
        rows[start + upwards] = between(features[upwards], 1 - (y + 0.5) / GRID);
      }
    const answers = await context.model.run({ [input]: { shape: [GRID * GRID, values.length], data: rows } });
    surface = answers[output].data;
    draw();
  }

  function draw() {
    if (!surface) return;
    const palette = ["blue", "orange", "green"].map(colour);
    const width = surface.length / (GRID * GRID);
    const image = canvas.getContext("2d").createImageData(GRID, GRID);
    const range = classes ? null : [Math.min(...page.truth), Math.max(...page.truth)];
    for (let at = 0; at < GRID * GRID; at++) {
      const cell = surface.subarray(at * width, (at + 1) * width);
      const shares = width > 1 ? Array.from(cell) : range ? [(cell[0] - range[0]) / (range[1] - range[0])] : [1 - cell[0], cell[0]];
      image.data.set(range ? [...palette[0], 235 * Math.min(1, Math.max(0.02, shares[0]))] : [...mixed(palette, shares), 150], at * 4);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    drawDots(palette, range);
  }

  function drawDots(palette, range) {
    const [across, upwards] = axes.map(({ select }) => Number(select.value));
    const context2d = overlay.getContext("2d");
    const size = overlay.width;
    context2d.clearRect(0, 0, size, size);
    const [paper, text] = [colour("paper"), colour("text")];
    const dot = (row, radius, fill, edge) => {
      context2d.beginPath();
      context2d.arc(share(features[across], row[across]) * size, (1 - share(features[upwards], row[upwards])) * size, radius, 0, 7);
      context2d.fillStyle = fill;
      context2d.fill();
      context2d.strokeStyle = edge;
      context2d.lineWidth = 2;
      context2d.stroke();
    };
    page.rows.forEach((row, at) => {
      const fill = range
        ? `rgb(${palette[0].join(" ")} / ${0.1 + (0.9 * (page.truth[at] - range[0])) / (range[1] - range[0])})`
        : `rgb(${palette[page.truth[at]]})`;
      dot(row, 6, fill, `rgb(${paper})`);
    });
    dot(values, 13, `rgb(${paper})`, `rgb(${text})`);
    dot(values, 6, `rgb(${text})`, `rgb(${text})`);
  }

  function move(x, y) {
    const [across, upwards] = axes.map(({ select }) => Number(select.value));
    values[across] = between(features[across], Math.min(1, Math.max(0, x)));
    values[upwards] = between(features[upwards], Math.min(1, Math.max(0, 1 - y)));
    truth.textContent = "";
    update();
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointed(event);
  });
  canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && pointed(event));
  function pointed(event) {
    const box = canvas.getBoundingClientRect();
    move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [across, upwards] = axes.map(({ select }) => Number(select.value));
    move(share(features[across], values[across]) + step[0] / 40, 1 - share(features[upwards], values[upwards]) + step[1] / 40);
  });

  const random = h("button", {
    type: "button",
    class: "plain",
    text: t("random_row"),
    onclick: () => {
      const at = Math.floor(Math.random() * page.rows.length);
      values.splice(0, values.length, ...page.rows[at]);
      const is = classes ? classes[page.truth[at]] : `${short(page.truth[at])}`;
      truth.textContent = t("truth", { value: is });
      update();
    },
  });
  // Of thirty measurements the ones of the axes are moved on the surface itself.
  const ordered = [...new Set([first, second, ...features.keys()])];
  const more = ordered.slice(FIRST).map((at) => sliders[at].element);
  place.replaceChildren(
    h(
      "div",
      { class: "two" },
      h("div", { class: "stack-gap" }, h("div", {}, number, bars ? bars.element : null, h("div", { class: "buttons spaced" }, random, truth)), h("div", { class: "sliders" }, ...ordered.slice(0, FIRST).map((at) => sliders[at].element)), more.length ? h("details", {}, h("summary", { class: "note", text: `+ ${more.length}` }), h("div", { class: "sliders" }, ...more)) : null),
      h("div", {}, h("div", { class: "surface" }, canvas, overlay), h("div", { class: "axes" }, ...axes.map(({ element }) => element)), h("p", { class: "note spaced", text: t("surface") })),
    ),
  );
  onScheme(draw);
  return update();
}

function axisChoice(axis, features, changed) {
  const select = h("select", { onchange: changed }, ...features.map(({ name }, at) => h("option", { value: at, text: name })));
  return { select, element: h("label", {}, t(axis ? "upwards" : "across"), select) };
}

const between = ({ low, high }, part) => low + (high - low) * part;
const share = ({ low, high }, value) => (value - low) / (high - low || 1);

function mixed(palette, shares) {
  return [0, 1, 2].map((part) => shares.reduce((sum, value, at) => sum + value * palette[at][part], 0));
}

/** Return the two measurements that move most with the truth, by correlation. */
function mostTelling(page) {
  const strength = page.features.map((_, at) => Math.abs(correlation(page.rows.map((row) => row[at]), page.truth)));
  return strength.map((value, at) => [value, at]).sort((one, other) => other[0] - one[0]).slice(0, 2).map(([, at]) => at);
}

function correlation(one, other) {
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [a, b] = [mean(one), mean(other)];
  let [top, left, right] = [0, 0, 0];
  one.forEach((value, at) => {
    top += (value - a) * (other[at] - b);
    left += (value - a) ** 2;
    right += (other[at] - b) ** 2;
  });
  return top / (Math.sqrt(left * right) || 1);
}
