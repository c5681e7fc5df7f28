// The head of the index: draw a digit, and it is read; the runtime comes when the reader does.
import { Bars } from "./bars.js";
import { imageOf } from "./digits.js";
import { get, h, t } from "./dom.js";
import { Model, newest } from "./ort.js";
import { Pad } from "./pad.js";

export function start(figure) {
  const name = figure.dataset.hero;
  const bars = new Bars(Array.from("0123456789"));
  let opening = null;
  const open = async () => {
    const page = await (await get(`data/${name}/page.json`)).json();
    return { page, model: await Model.open(`data/${name}/model.onnx`) };
  };
  const read = newest(async () => {
    const { page, model } = await (opening ??= open());
    const [input] = page.inputs;
    const [, rows, columns, channels] = input.shape;
    const pixels = imageOf(pad.ink(), pad.size, page.image);
    if (!pixels) return bars.clear();
    const answers = await model.run({ [input.name]: { shape: [1, rows, columns, channels], data: pixels } });
    const shares = Array.from(answers[page.outputs[0].name].data);
    bars.show(shares);
    figure.dataset.answer = shares.indexOf(Math.max(...shares));
  });
  const pad = new Pad(t("pad"), read);
  // Until the reader draws: a held-out digit, and what the file answered to it when the site was built.
  const { pixels, side, shares } = JSON.parse(figure.dataset.sample);
  pad.show(pixels, side, side);
  bars.show(shares);
  const clear = h("button", {
    type: "button",
    class: "plain",
    text: t("clear"),
    onclick: () => {
      pad.clear();
      bars.clear();
    },
  });
  figure.querySelector(".hero-pad").append(pad.canvas);
  figure.querySelector(".hero-answer").append(bars.element);
  figure.querySelector("figcaption").append(" ", clear);
}
