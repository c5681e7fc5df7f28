// Probabilities as bars, one a class.
import { h } from "./dom.js";

/** Show shares of one as bars, and mark the largest. */
export class Bars {
  constructor(classes) {
    this.rows = classes.map((name) => {
      const fill = h("span", { class: "fill" });
      const value = h("span", { class: "value" });
      const row = h("li", {}, h("span", { text: name }), h("span", { class: "track" }, fill), value);
      fill.style.transform = "scaleX(0)";
      return { row, fill, value };
    });
    this.element = h("ul", { class: "bars" }, ...this.rows.map(({ row }) => row));
  }

  show(shares) {
    const best = shares.indexOf(Math.max(...shares));
    this.rows.forEach(({ row, fill, value }, at) => {
      row.classList.toggle("best", at === best);
      fill.style.transform = `scaleX(${shares[at]})`;
      value.textContent = `${(100 * shares[at]).toFixed(1)} %`;
    });
  }

  clear() {
    for (const { row, fill, value } of this.rows) {
      row.classList.remove("best");
      fill.style.transform = "scaleX(0)";
      value.textContent = "";
    }
  }
}
