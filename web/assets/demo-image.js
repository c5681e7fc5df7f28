// Draw a digit, or take a picture of the data: every layer's feature maps, and the answer.
import { Bars } from "./bars.js";
import { imageOf, TWO } from "./digits.js";
import { h, onScheme, t } from "./dom.js";
import { decoded, paintImage } from "./maps.js";
import { feedsOf, newest } from "./ort.js";
import { Pad } from "./pad.js";
import { Stages, stagesOf, tensorsOf, weightsOf } from "./stages.js";

export async function start(context) {
  const { page, taps, place } = context;
  const [input] = page.inputs;
  const [, rows, columns, channels] = input.shape;
  const high = page.image.high;
  const stages = stagesOf(page.nodes, page.layers);
  const weights = await taps.run(feedsOf(page.example), weightsOf(stages));
  const wanted = tensorsOf(stages);
  const output = page.outputs[0].name;

  const seen = h("canvas", { role: "img", "aria-label": t("sees") });
  const view = new Stages(stages.slice(0, -1), weights, { [input.name]: seen }, page.nodes);
  const bars = new Bars(page.classes);
  const reading = h("p", { class: "reading-answer", "aria-live": "polite" });
  let values = null;

  const run = newest(async (pixels) => {
    values = pixels;
    const feeds = { [input.name]: { shape: [1, rows, columns, channels], data: pixels } };
    const [answers, tensors] = await Promise.all([context.model.run(feeds), taps.run(feeds, wanted)]);
    const shares = Array.from(answers[output].data);
    paintImage(seen, pixels, rows, columns, channels, high);
    await view.show(tensors);
    bars.show(shares);
    const best = shares.indexOf(Math.max(...shares));
    reading.replaceChildren(page.classes[best], h("small", { text: t("probability", { value: (100 * shares[best]).toFixed(1) }) }));
    place.dataset.answer = page.classes[best];
    context.answered(feeds, answers);
  });
  const nothing = () => {
    bars.clear();
    reading.replaceChildren(h("small", { text: t("nothing_drawn") }));
    seen.getContext("2d").clearRect(0, 0, seen.width, seen.height);
    delete place.dataset.answer;
  };

  const grey = channels === 1;
  const pad = grey
    ? new Pad(t("pad"), () => {
        const pixels = imageOf(pad.ink(), pad.size, page.image);
        if (pixels) run(pixels);
        else nothing();
      })
    : null;
  const sees = h("div", { class: "sees" }, seen, h("span", { text: t(grey ? "sees_digit" : "sees_picture", { size: `${rows} × ${columns}`, high }) }));
  const take = (pixels) => {
    pad?.show(Array.from(pixels, (value) => value / high), rows, columns);
    run(pixels);
  };
  const samples = sampleButtons(page, input.name, rows, columns, channels, high, take);
  const tools = grey
    ? [
        pad.canvas,
        h("div", { class: "buttons" }, h("button", { type: "button", class: "plain", text: t("clear"), onclick: () => (pad.clear(), nothing()) }), h("span", { class: "note", text: t("draw_hint") })),
      ]
    : [pictureButton(rows, columns, take)];
  place.replaceChildren(
    h(
      "div",
      { class: "work" },
      h("div", { class: "stick" }, ...tools, reading, bars.element, sees, samples),
      h("div", { class: "stack-gap" }, view.hint, view.element, view.explanation),
    ),
  );
  onScheme(() => {
    if (values) run(values);
  });
  if (grey) pad.draw(TWO);
  else take(decoded(page.samples[0].inputs[input.name]));
}

/** Return buttons with held-out samples of the data. */
export function sampleButtons(page, key, rows, columns, channels, high, take) {
  const list = h("div", { class: rows > 8 ? "samples large" : "samples", role: "group", "aria-label": t("samples") });
  for (const [number, sample] of (page.samples ?? []).entries()) {
    const pixels = decoded(sample.inputs[key]);
    const canvas = h("canvas");
    const paint = () => paintImage(canvas, pixels, rows, columns, channels, high);
    paint();
    onScheme(paint);
    list.append(
      h("button", { type: "button", "aria-label": t("sample", { number: number + 1, truth: page.classes[sample.truth] }), title: page.classes[sample.truth], onclick: () => take(pixels, sample) }, canvas),
    );
  }
  return h("div", {}, h("p", { class: "sub", text: t("samples") }), list);
}

/** Return a button that takes the middle of a picture of the reader's own. */
function pictureButton(rows, columns, take) {
  const file = h("input", { type: "file", accept: "image/*", class: "unseen", id: "own-picture" });
  file.addEventListener("change", async () => {
    if (!file.files[0]) return;
    const picture = await createImageBitmap(file.files[0]);
    const canvas = new OffscreenCanvas(columns, rows);
    const context = canvas.getContext("2d");
    const side = Math.min(picture.width, picture.height);
    context.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, columns, rows);
    const { data } = context.getImageData(0, 0, columns, rows);
    take(Float32Array.from({ length: rows * columns * 3 }, (_, at) => data[Math.floor(at / 3) * 4 + (at % 3)]));
  });
  return h("div", {}, h("label", { class: "button quiet", for: "own-picture", text: t("own_picture") }), file);
}
