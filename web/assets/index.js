// The index: filter, sort, compare; and the small demonstration at its head.
import { t } from "./dom.js";

const cards = [...document.querySelectorAll(".card")];
const list = document.querySelector(".cards");
const chips = [...document.querySelectorAll(".chip")];
const search = document.getElementById("search");
let family = "all";

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of cards) {
    const text = card.dataset.text.toLowerCase();
    const fits = (family === "all" || card.dataset.family === family) && words.every((word) => text.includes(word));
    card.hidden = !fits;
    shown += fits;
  }
  document.getElementById("count").textContent = t("count", { shown, all: cards.length });
  document.getElementById("none").hidden = shown > 0;
}

search.addEventListener("input", filter);
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
for (const chip of chips) {
  chip.addEventListener("click", () => {
    family = chip.dataset.family;
    for (const each of chips) each.setAttribute("aria-pressed", each === chip);
    filter();
  });
}
document.getElementById("sort").addEventListener("change", (event) => {
  const key = event.target.value;
  const value = (card) => Number(card.dataset[key] ?? 0) * (key === "gain" ? -1 : 1);
  list.append(...[...cards].sort((one, other) => value(one) - value(other)));
});

const comparison = document.getElementById("comparison");
function compare() {
  const chosen = new Set([...list.querySelectorAll("input:checked")].map((box) => box.value));
  for (const row of comparison.querySelectorAll("tbody tr")) row.hidden = !chosen.has(row.dataset.name);
  comparison.hidden = chosen.size === 0;
}
list.addEventListener("change", compare);
document.getElementById("clear-comparison").addEventListener("click", () => {
  for (const box of list.querySelectorAll("input:checked")) box.checked = false;
  compare();
});
filter();
compare();

const hero = document.querySelector("[data-hero]");
if (hero) import("./hero.js").then((module) => module.start(hero));
