// Two digits side by side: which is larger, and what is their sum?
import { Bars } from "./bars.js";
import { imageOf } from "./digits.js";
import { h, short, t } from "./dom.js";
import { decoded, paintImage } from "./maps.js";
import { feedsOf, newest } from "./ort.js";
import { Pad } from "./pad.js";
import { Stages, stagesOf, tensorsOf, weightsOf } from "./stages.js";

export async function start(context) {
  const { page, place } = context;
  const [rows, columns, channels] = page.inputs[0].shape.slice(1);
  const high = page.image.high;
  const bars = new Bars([`${t("left")} ≥`, t("larger")]);
  const sum = h("p", { class: "reading-answer", "aria-live": "polite" });
  const images = [null, null];
  // The last layers are the answers themselves.
  const stages = stagesOf(page.nodes, page.layers).slice(0, -page.outputs.length);
  const wanted = tensorsOf(stages);
  const weights = await context.taps.run(feedsOf(page.example), weightsOf(stages));
  const seen = Object.fromEntries(page.inputs.map(({ name }) => [name, h("canvas", { role: "img", "aria-label": `${t("sees")}: ${name}` })]));
  const view = new Stages(stages, weights, seen, page.nodes);
  const run = newest(async () => {
    if (images.some((image) => image === null)) return;
    const feeds = Object.fromEntries(page.inputs.map(({ name }, at) => [name, { shape: [1, rows, columns, channels], data: images[at] }]));
    const [answers, tensors] = await Promise.all([context.model.run(feeds), context.taps.run(feeds, wanted)]);
    Object.values(seen).forEach((canvas, at) => paintImage(canvas, images[at], rows, columns, channels, high));
    await view.show(tensors);
    const [larger, total] = page.outputs.map(({ name }) => answers[name].data[0]);
    bars.show([1 - larger, larger]);
    sum.replaceChildren(short(total), h("small", { text: t("sum") }));
    place.dataset.answer = total;
    context.answered(feeds, answers);
  });
  const pads = page.inputs.map((_, at) => {
    const pad = new Pad(`${t(at ? "right" : "left")}. ${t("pad")}`, () => {
      images[at] = imageOf(pad.ink(), pad.size, page.image);
      run();
    });
    return pad;
  });
  const clear = (at) => {
    pads[at].clear();
    images[at] = null;
    bars.clear();
    sum.replaceChildren(h("small", { text: t("nothing_drawn") }));
  };
  const sample = ({ inputs }) => {
    page.inputs.forEach(({ name }, at) => {
      images[at] = decoded(inputs[name]);
      pads[at].show(Array.from(images[at], (value) => value / high), rows, columns);
    });
    run();
  };
  place.replaceChildren(
    h(
      "div",
      { class: "two" },
      h(
        "div",
        { class: "pair" },
        ...pads.map((pad, at) => h("div", {}, h("div", { class: "row-between" }, h("p", { class: "sub", text: t(at ? "right" : "left") }), h("button", { type: "button", class: "plain", text: t("clear"), onclick: () => clear(at) })), pad.canvas)),
      ),
      h("div", { class: "stack-gap" }, sum, bars.element, h("div", { class: "sees" }, ...Object.values(seen), h("span", { text: t("sees") })), h("div", { class: "buttons" }, h("button", { type: "button", class: "plain", text: t("samples"), onclick: () => sample(page.samples[Math.floor(Math.random() * page.samples.length)]) }))),
    ),
    h("div", { class: "stack-gap below" }, view.hint, view.element, view.explanation),
  );
  sample(page.samples[0]);
}
