// Controls that the figures share: a slider with its value, and a choice between a few words.
import { h, short } from "./dom.js";

/** Return a slider; `changed` hears its value. */
export function slider(name, { low, high, step = 1, value }, changed, text = short) {
  const output = h("output", { text: text(value) });
  const range = h("input", { type: "range", min: low, max: high, step, "aria-label": name });
  range.value = value;
  range.addEventListener("input", () => {
    output.textContent = text(Number(range.value));
    changed(Number(range.value));
  });
  return h("div", { class: "slider" }, h("span", {}, name, output), range);
}

/** Return buttons of which one is pressed; `changed` hears its key. */
export function choice(name, options, chosen, changed) {
  const buttons = options.map(([key, text]) =>
    h("button", {
      type: "button",
      text,
      "data-choice": key,
      "aria-pressed": key === chosen,
      onclick: () => {
        for (const each of buttons) each.setAttribute("aria-pressed", each.dataset.choice === key);
        changed(key);
      },
    }),
  );
  return h("div", { class: "choice" }, h("span", { class: "note", text: name }), h("span", { class: "segments", role: "group", "aria-label": name }, ...buttons));
}
