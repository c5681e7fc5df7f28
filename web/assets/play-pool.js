// Max pooling: the map of upright lines, shifted, before and after pooling.
import { slider } from "./controls.js";
import { h, onScheme, t } from "./dom.js";
import { paintMap } from "./maps.js";
import { convolved, kernelOf, SIDE, two } from "./picture.js";

function lines(shift) {
  const { values } = convolved(two(shift), SIDE, kernelOf("vertical", 3), 3, 1, "same");
  return values.map((value) => Math.max(0, value));
}

function pooled(values, size) {
  const side = Math.floor(SIDE / size);
  const result = new Float32Array(side * side);
  for (let y = 0; y < side * size; y++)
    for (let x = 0; x < side * size; x++) {
      const at = Math.floor(y / size) * side + Math.floor(x / size);
      result[at] = Math.max(result[at], values[y * SIDE + x]);
    }
  return { values: result, side };
}

/** Return by how much two maps differ, as a share of what they hold together. */
function changed(one, other) {
  let [difference, size] = [0, 0];
  one.forEach((value, at) => {
    difference += Math.abs(value - other[at]);
    size += Math.max(value, other[at]);
  });
  return Math.round((100 * difference) / (size || 1));
}

export function start(place) {
  const state = { size: 2, shift: 0 };
  const map = (name) => h("canvas", { class: "map", role: "img", "aria-label": name });
  const [before, after] = [map(t("before_pool")), map(t("after_pool"))];
  const note = h("p", { class: "note", role: "status" });
  const [sizeBefore, sizeAfter] = [h("span", { class: "note" }), h("span", { class: "note" })];

  function update() {
    const [still, moved] = [lines(0), lines(state.shift)];
    const [stillPooled, movedPooled] = [pooled(still, state.size), pooled(moved, state.size)];
    const scale = Math.max(...moved);
    paintMap(before, moved, SIDE, SIDE, scale);
    paintMap(after, movedPooled.values, movedPooled.side, movedPooled.side, scale);
    sizeBefore.textContent = `${SIDE} × ${SIDE}`;
    sizeAfter.textContent = `${movedPooled.side} × ${movedPooled.side}`;
    const [mapChange, poolChange] = [changed(still, moved), changed(stillPooled.values, movedPooled.values)];
    note.textContent = state.shift ? t("pool_changed", { shift: state.shift, before: mapChange, after: poolChange }) : "";
    Object.assign(place.dataset, { before: mapChange, after: poolChange });
  }
  const set = (key) => (value) => {
    state[key] = value;
    update();
  };
  place.replaceChildren(
    h(
      "div",
      { class: "stack-gap" },
      h("div", { class: "duo" }, slider(t("shift"), { low: 0, high: 2, value: 0 }, set("shift")), slider(t("pool_size"), { low: 1, high: 4, value: 2 }, set("size"), (size) => `${size} × ${size}`)),
      h("div", { class: "duo" }, h("div", {}, h("h3", {}, t("before_pool"), " ", sizeBefore), before), h("div", {}, h("h3", {}, t("after_pool"), " ", sizeAfter), after)),
      note,
    ),
  );
  update();
  onScheme(update);
}
