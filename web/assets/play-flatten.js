// Flatten: the maps of a model, and the row that they become.
import { imageOf, TWO } from "./digits.js";
import { get, h, onScheme, short, t } from "./dom.js";
import { Model } from "./ort.js";
import { Pad } from "./pad.js";
import { frame, numbers } from "./stages.js";

export async function start(place, name) {
  const page = await (await get(`data/${name}/page.json`)).json();
  const taps = await Model.open(`data/${name}/taps.onnx`);
  const [input] = page.inputs;
  const pad = new Pad("", () => {});
  pad.draw(TWO);
  const pixels = imageOf(pad.ink(), pad.size, page.image);
  const tensor = page.nodes.filter(({ op }) => op === "MaxPool").at(-1).outputs[0];
  const { shape, data } = (await taps.run({ [input.name]: { shape: [1, ...input.shape.slice(1)], data: pixels } }, [tensor]))[tensor];
  const [, channels, rows, columns] = shape;
  const where = h("p", { class: "note", role: "status", text: t("flatten_hint") });
  const maps = Array.from({ length: channels }, (_, channel) => {
    const values = Array.from(data.slice(channel * rows * columns, (channel + 1) * rows * columns));
    return numbers(values, { columns }, t("map", { number: channel + 1 }));
  });
  // Keras lays (rows, columns, maps) out with the maps fastest.
  const order = Array.from({ length: data.length }, (_, at) => ({ channel: at % channels, cell: Math.floor(at / channels) }));
  const row = numbers(order.map(({ channel, cell }) => data[channel * rows * columns + cell]), { columns: data.length }, "");
  const cells = (element) => [...element.querySelectorAll(".numbers span")];
  const show = (place_) => {
    for (const each of place.querySelectorAll(".lit")) each.classList.remove("lit");
    const { channel, cell } = order[place_];
    cells(maps[channel])[cell].classList.add("lit");
    cells(row)[place_].classList.add("lit");
    where.textContent = t("flatten_cell", { map: channel + 1, row: Math.floor(cell / columns) + 1, column: (cell % columns) + 1, place: place_ + 1 });
  };
  const wire = (element, find) =>
    cells(element).forEach((cell, at) => {
      cell.tabIndex = 0;
      for (const kind of ["pointerenter", "focus", "click"]) cell.addEventListener(kind, () => show(find(at)));
    });
  maps.forEach((element, channel) => wire(element, (cell) => cell * channels + channel));
  wire(row, (at) => at);
  place.replaceChildren(h("div", { class: "stack-gap" }, h("div", { class: "sum-row" }, ...maps), h("div", { class: "scroll flat", tabindex: 0, role: "group", "aria-label": t("vector") }, row), where));
}
