// One step at a time: the state goes in with each value and comes out again; the server keeps its own.
import { get, h, onScheme, short, t } from "./dom.js";
import { newest } from "./ort.js";
import { Plot, roomFor, ticks } from "./plot.js";

export async function start(context) {
  const { page, place } = context;
  const series = (await (await get("data/lstm_sunspots/page.json")).json()).series;
  const [first, ...states] = page.inputs;
  const [forecast, ...next] = page.outputs;
  const begin = series.values.length - 60;
  const chart = h("div");
  const cells = h("div", { class: "small-plots" });
  const reading = h("p", { class: "reading-answer", "aria-live": "polite" });
  const count = h("p", { class: "note" });
  let history;
  let state;
  let sequence;

  function restart() {
    history = [];
    state = Object.fromEntries(states.map(({ name, shape }) => [name, { shape: [1, ...shape.slice(1)], data: new Float32Array(shape[1]) }]));
    sequence = 1 + Math.floor(Math.random() * 2 ** 40);
    draw();
  }

  const step = newest(async () => {
    const at = begin + history.length;
    if (at >= series.values.length) return;
    const value = series.values[at];
    const tensor = { shape: [1, 1, 1], data: Float32Array.of(value) };
    const answers = await context.model.run({ [first.name]: tensor, ...state });
    state = Object.fromEntries(states.map(({ name }, place_) => [name, answers[next[place_].name]]));
    history.push({ value, forecast: answers[forecast.name].data[0], states: next.map(({ name }) => Array.from(answers[name].data)) });
    place.dataset.answer = history.at(-1).forecast;
    draw();
    // The server keeps the state itself: every value must have come there, once and in order.
    const parameters = { sequence_id: sequence, sequence_start: history.length === 1, sequence_end: false };
    await context.answered({ [first.name]: tensor }, { [forecast.name]: answers[forecast.name] }, page, parameters);
  });

  function draw() {
    const from = series.from + begin;
    count.textContent = history.length ? t("state", { count: history.length }) : t("steps_none");
    const last = history.at(-1);
    reading.replaceChildren(last ? short(last.forecast) : "–", h("small", { text: t("forecast", { year: from + history.length }) }));
    const plot = new Plot({ width: roomFor(chart), height: 260, x: [from, from + 60], y: [0, 210], title: t("series_line") });
    plot.frame(ticks(from, from + 60, 8), ticks(0, 200, 4));
    plot.line(history.map((_, at) => from + at), history.map(({ value }) => value), "line-a");
    plot.line(history.map((_, at) => from + at + 1), history.map((each) => each.forecast), "line-b");
    chart.replaceChildren(plot.element, h("p", { class: "note" }, h("span", { class: "key mark", text: t("series_line") }), h("span", { class: "key b", text: t("forecast_line") })));
    cells.replaceChildren(
      ...["hidden", "cells"].slice(0, next.length).map((title, place_) => {
        const most = Math.max(1, ...history.flatMap((each) => each.states[place_].map(Math.abs)));
        const small = new Plot({ width: 420, height: 150, x: [from, from + 60], y: [-most, most], left: 34, title: t(title) });
        small.frame([from, from + 60], [Number((-most).toPrecision(2)), 0, Number(most.toPrecision(2))]);
        for (let unit = 0; unit < (last?.states[place_].length ?? 0); unit++)
          small.line(history.map((_, at) => from + at), history.map((each) => each.states[place_][unit]), `line-${unit % 3}`);
        return h("div", {}, h("h3", { text: t(title) }), h("p", { text: t(`${title}_note`) }), small.element);
      }),
    );
  }

  const button = (key, action) => h("button", { type: "button", class: "plain", text: t(key), onclick: action });
  const several = async () => {
    for (let turn = 0; turn < 20; turn++) await step();
  };
  place.replaceChildren(
    h("div", { class: "stack-gap" }, h("div", { class: "row-between" }, reading, h("div", { class: "buttons" }, button("step", () => step()), button("autoplay", several), button("restart", restart))), chart, count, cells),
  );
  document.getElementById("server").addEventListener("change", restart);
  onScheme(draw);
  restart();
  for (let turn = 0; turn < 24; turn++) await step();
}
