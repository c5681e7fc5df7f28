// A convolution by hand: kernel, size, stride, padding; a window that follows the pointer.
import { choice, slider } from "./controls.js";
import { h, onScheme, short, t } from "./dom.js";
import { paintMap } from "./maps.js";
import { convolved, kernelOf, SIDE, two } from "./picture.js";
import { frame, numbers } from "./stages.js";

const KINDS = ["edge", "vertical", "level", "blur", "sharp"];

export function start(place) {
  const state = { kind: "vertical", size: 3, stride: 1, padding: "valid", y: 6, x: 6 };
  const values = two();
  const map = (name) => h("canvas", { class: "map", role: "img", "aria-label": name });
  const [input, output] = [map(t("input_map")), map(t("output_map"))];
  output.tabIndex = 0;
  const kernelPlace = h("div");
  const sizes = h("p", { class: "note" });
  const sum = h("div", { class: "sum-row" });
  let result;

  function update() {
    const kernel = kernelOf(state.kind, state.size);
    result = convolved(values, SIDE, kernel, state.size, state.stride, state.padding);
    paintMap(input, values, SIDE, SIDE, 1);
    paintMap(output, result.values, result.side, result.side, Math.max(...result.values.map(Math.abs)));
    kernelPlace.replaceChildren(numbers(Array.from(kernel), { columns: state.size }, ""));
    sizes.textContent = t("playground_size", { from: SIDE, to: result.side });
    place.dataset.side = result.side;
    point(state.y, state.x);
  }

  function point(y, x) {
    state.y = Math.max(0, Math.min(result.side - 1, y));
    state.x = Math.max(0, Math.min(result.side - 1, x));
    for (const each of place.querySelectorAll(".frame")) each.remove();
    const [top, left] = [state.y * state.stride - result.pad, state.x * state.stride - result.pad];
    frame(output, state.y, state.x, 1, 1);
    frame(input, top, left, state.size, state.size);
    const window = Array.from({ length: state.size ** 2 }, (_, at) => {
      const [sy, sx] = [top + Math.floor(at / state.size), left + (at % state.size)];
      return sy >= 0 && sx >= 0 && sy < SIDE && sx < SIDE ? values[sy * SIDE + sx] : null;
    });
    const kernel = kernelOf(state.kind, state.size);
    const columns = { columns: state.size };
    const value = result.values[state.y * result.side + state.x];
    sum.replaceChildren(
      numbers(window, columns, t("window")),
      h("span", { class: "operator", text: "×" }),
      numbers(Array.from(kernel), columns, t("kernel")),
      h("span", { class: "operator", text: "=" }),
      numbers(window.map((each, at) => (each ?? 0) * kernel[at]), columns, t("products")),
      h("div", { class: "total" }, t("sum_of_products", { value: "" }), h("strong", { text: short(value) })),
    );
    place.dataset.value = value;
  }

  output.addEventListener("pointermove", (event) => {
    const box = output.getBoundingClientRect();
    point(Math.floor(((event.clientY - box.top) / box.height) * result.side), Math.floor(((event.clientX - box.left) / box.width) * result.side));
  });
  output.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    point(state.y + step[0], state.x + step[1]);
  });
  const set = (key) => (value) => {
    state[key] = value;
    update();
  };
  place.replaceChildren(
    h(
      "div",
      { class: "stack-gap" },
      h(
        "div",
        { class: "row-between" },
        choice(t("kernel_map"), KINDS.map((kind) => [kind, t(`kernel_${kind}`)]), state.kind, set("kind")),
        choice(t("padding"), [["valid", t("valid")], ["same", t("same")]], state.padding, set("padding")),
      ),
      h("div", { class: "duo" }, slider(t("kernel_size"), { low: 1, high: 5, value: state.size }, set("size"), (size) => `${size} × ${size}`), slider(t("stride"), { low: 1, high: 3, value: state.stride }, set("stride"))),
      h(
        "div",
        { class: "duo" },
        h("div", {}, h("h3", { text: t("input_map") }), h("div", {}, input)),
        h("div", {}, h("h3", {}, t("output_map"), " "), h("div", {}, output)),
      ),
      h("div", { class: "row-between" }, sizes, h("p", { class: "note", text: t("play_hint") })),
      sum,
    ),
  );
  update();
  addEventListener("resize", () => point(state.y, state.x));
  onScheme(update);
}
