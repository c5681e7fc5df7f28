// A model's inputs as fields to fill, and its outputs as numbers: for any ONNX file.
import { h, short, t } from "./dom.js";
import { tensor } from "./ort.js";

/** Numbers of a tensor that a field shows; more would only slow the page. */
const MOST_SHOWN = 2000;

export class Fields {
  /** `answered` hears of each run. */
  constructor(model, answered = () => {}) {
    this.model = model;
    this.answered = answered;
    this.error = h("p", { class: "note", role: "alert" });
    this.results = h("div", { class: "stack-gap" });
    this.fields = model.inputs.filter(({ isTensor }) => isTensor).map((input) => this.#field(input));
    const button = (key, action) => h("button", { type: "button", class: "plain", text: t(key), onclick: action });
    this.element = h(
      "div",
      { class: "stack-gap" },
      h(
        "div",
        { class: "box" },
        h("h3", { text: t("inputs") }),
        ...this.fields.map(({ element }) => element),
        h("div", { class: "buttons" }, button("run", () => this.run()), button("random", () => this.#fill(Math.random)), button("zeros", () => this.#fill(() => 0))),
        this.error,
      ),
      this.results,
    );
    for (const field of this.fields) this.#set(field, Math.random);
  }

  async run() {
    this.error.textContent = "";
    try {
      const feeds = Object.fromEntries(this.fields.map((field) => [field.input.name, this.#read(field)]));
      const began = performance.now();
      const answers = await this.model.run(feeds);
      const took = performance.now() - began;
      this.#show(answers, took);
      this.answered(feeds, answers);
    } catch (error) {
      this.error.textContent = error.message;
      this.results.replaceChildren();
    }
  }

  #field(input) {
    const shape = input.shape.map((size) => (typeof size === "number" && size > 0 ? size : 1));
    const sizes = h("input", { type: "text", value: shape.join(", "), "aria-label": t("shape_of", { name: input.name }) });
    const area = h("textarea", { spellcheck: "false", "aria-label": t("values_of", { name: input.name }) });
    const field = { input, sizes, area };
    sizes.addEventListener("change", () => this.#set(field, Math.random));
    field.element = h("div", { class: "field" }, h("span", {}, h("code", { text: input.name }), ` ${input.type} `, h("span", { class: "note", text: `[${input.shape.join(", ")}]` })), sizes, area);
    return field;
  }

  #fill(make) {
    for (const field of this.fields) this.#set(field, make);
    return this.run();
  }

  #set(field, make) {
    const count = this.#shape(field).reduce((product, size) => product * size, 1);
    const isWhole = !field.input.type.startsWith("float");
    const value = () => (isWhole ? Math.round(make()) : Number(make().toFixed(3)));
    field.make = count > MOST_SHOWN ? value : null;
    field.area.disabled = count > MOST_SHOWN;
    field.area.value = Array.from({ length: Math.min(count, MOST_SHOWN) }, value).join(", ") + (count > MOST_SHOWN ? " …" : "");
  }

  #shape({ sizes }) {
    return sizes.value.split(/[\s,×]+/).filter(Boolean).map(Number);
  }

  #read(field) {
    const { name, type } = field.input;
    const shape = this.#shape(field);
    const wanted = shape.reduce((product, size) => product * size, 1);
    const texts = field.make ? Array.from({ length: wanted }, field.make) : field.area.value.split(/[\s,]+/).filter(Boolean);
    if (texts.length !== wanted) throw new Error(t("wrong_count", { name, wanted, shape: shape.join("×"), seen: texts.length }));
    const wrong = texts.find((text) => Number.isNaN(Number(text)));
    if (wrong !== undefined) throw new Error(t("not_a_number", { name, value: wrong }));
    return tensor(type, shape, texts);
  }

  #show(answers, took) {
    this.results.replaceChildren(
      h(
        "div",
        { class: "box" },
        h("h3", { text: t("outputs") }),
        ...Object.entries(answers).map(([name, { shape, data }]) => {
          const shown = Array.from(data.slice(0, 100), (value) => (typeof value === "number" ? short(value, 5) : String(value))).join(", ");
          return h("div", { class: "field" }, h("span", {}, h("code", { text: name }), h("span", { class: "note", text: ` [${shape.join(", ")}]` })), h("div", { class: "result", text: data.length > 100 ? `${shown} …` : shown }));
        }),
        h("p", { class: "note", text: t("took", { milliseconds: took.toFixed(1) }) }),
      ),
    );
  }
}
