// linear, relu and sigmoid on one slider; softmax on three.
import { Bars } from "./bars.js";
import { slider } from "./controls.js";
import { h, short, t } from "./dom.js";
import { Plot } from "./plot.js";

const FUNCTIONS = { linear: (x) => x, relu: (x) => Math.max(0, x), sigmoid: (x) => 1 / (1 + Math.exp(-x)) };

export function start(place) {
  const xs = Array.from({ length: 81 }, (_, at) => (at - 40) / 10);
  const plots = Object.entries(FUNCTIONS).map(([name, f]) => {
    const [low, high] = name === "sigmoid" ? [0, 1] : [-4, 4];
    const plot = new Plot({ width: 280, height: 190, x: [-4, 4], y: [low, high], left: 30, title: name });
    plot.frame([-4, 0, 4], [low, (low + high) / 2, high]);
    plot.line(xs, xs.map(f), "line-0");
    const dot = plot.add(h("circle", { class: "forecast", r: 6 }));
    const value = h("p", { class: "total" });
    const show = (x) => {
      dot.setAttribute("cx", plot.px(x));
      dot.setAttribute("cy", plot.py(f(x)));
      value.replaceChildren(`${name}(${short(x)}) = `, h("strong", { text: short(f(x)) }));
    };
    return { element: h("div", {}, h("h3", { text: name }), plot.element, value), show };
  });
  const showAll = (x) => plots.forEach(({ show }) => show(x));
  const sums = [1, 0.2, -1];
  const bars = new Bars(["1", "2", "3"]);
  const shares = () => {
    const powers = sums.map(Math.exp);
    const total = powers.reduce((sum, value) => sum + value, 0);
    bars.show(powers.map((value) => value / total));
  };
  const several = sums.map((value, at) =>
    slider(`${t("activation_input")} ${at + 1}`, { low: -4, high: 4, step: 0.1, value }, (chosen) => {
      sums[at] = chosen;
      shares();
    }),
  );
  place.replaceChildren(
    h(
      "div",
      { class: "stack-gap" },
      slider(t("activation_input"), { low: -4, high: 4, step: 0.1, value: 1.5 }, showAll),
      h("div", { class: "trio" }, ...plots.map(({ element }) => element)),
      h("div", { class: "duo" }, h("div", {}, h("h3", { text: "softmax" }), ...several), h("div", {}, h("h3", { text: t("softmax_note") }), bars.element)),
    ),
  );
  showAll(1.5);
  shares();
}
