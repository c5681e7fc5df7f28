// A model's page: opens the model, measures it against Keras, and starts the demonstration that fits.
import { get, h, t } from "./dom.js";
import { feedsOf, largestDifference, Model, newest } from "./ort.js";
import { arrived } from "./reader.js";
import { ask, isServed } from "./server.js";

const article = document.querySelector("[data-model]");
const status = document.getElementById("status");
const place = document.getElementById("demo");
const name = article.dataset.model;

/** What a demonstration gets: the page's facts, the models, and where the server's answer is compared. */
class Context {
  #agreement = h("p", { class: "agreement", role: "status", hidden: true });
  #server = document.getElementById("server");
  #last = null;
  #compare = newest((...values) => this.#ask(...values));

  constructor(page, model) {
    this.page = page;
    this.name = name;
    this.place = place;
    this.model = model;
    this.taps = null;
    this.#server.addEventListener("change", () => {
      this.#agreement.hidden = !this.#server.checked;
      if (this.#server.checked && this.#last && page.kind !== "step") this.#compare(...this.#last);
    });
    place.after(this.#agreement);
  }

  /** Compare what the browser answered with what the server does, if the reader wants that. */
  async answered(feeds, answers, page = this.page, parameters = undefined) {
    this.#last = [feeds, answers, page, parameters];
    if (this.#server.checked) await this.#compare(...this.#last);
  }

  async #ask(feeds, answers, page, parameters) {
    try {
      const served = await ask(page, feeds, parameters);
      let difference = 0;
      let size = 0;
      for (const [key, { data }] of Object.entries(served)) {
        if (!answers[key]) continue;
        difference = Math.max(difference, largestDifference(answers[key].data, data));
        size = Math.max(size, ...Array.from(data, (value) => Math.abs(value)));
      }
      const good = difference <= page.tolerance * Math.max(size, 1e-30);
      this.#show(good ? t("agree") : t("disagree"), t("difference", { value: difference.toExponential(1) }), good);
      this.#agreement.dataset.difference = difference;
      this.#agreement.dataset.bound = page.tolerance * size;
    } catch (error) {
      this.#show(t("no_server"), error.message, false);
    }
  }

  #show(strong, text, good) {
    this.#agreement.classList.toggle("good", good);
    this.#agreement.classList.toggle("bad", !good);
    this.#agreement.replaceChildren(h("strong", { text: strong }), h("span", { text }));
    this.#agreement.hidden = false;
  }
}

/** Run the published test vector, and say how far this browser is from Keras. */
async function measure(page, model) {
  const feeds = feedsOf(page.example);
  const answers = await model.run(feeds);
  let [difference, size] = [0, 0];
  for (const [key, { values }] of Object.entries(page.expected)) {
    difference = Math.max(difference, largestDifference(answers[key].data, values));
    size = Math.max(size, ...values.map((value) => Math.abs(Number(value))));
  }
  const times = [];
  for (let turn = 0; turn < 15; turn++) {
    const began = performance.now();
    await model.run(feeds);
    times.push(performance.now() - began);
  }
  const time = times.sort((one, other) => one - other)[7];
  document.getElementById("browser-time").textContent = t("row_took", { time: time.toFixed(1) });
  const share = difference / (page.tolerance * size);
  document.getElementById("browser-difference").textContent = difference ? difference.toExponential(1) : "0";
  document.getElementById("browser-share").textContent = `${(100 * share).toFixed(1)} %`;
  document.getElementById("browser-row").dataset.share = share;
}

async function start() {
  await arrived;
  const bar = h("i");
  place.replaceChildren();
  status.replaceChildren(t("loading"), h("div", { class: "progress" }, bar));
  const progress = (share) => {
    bar.style.transform = `scaleX(${share})`;
  };
  progress(0);
  const page = await (await get(`data/${name}/page.json`)).json();
  const [demonstration, model, taps] = await Promise.all([
    import(`./demo-${page.kind}.js`),
    Model.open(`data/${name}/model.onnx`, progress),
    Model.open(`data/${name}/taps.onnx`),
  ]);
  const context = new Context(page, model);
  context.taps = taps;
  await demonstration.start(context);
  status.replaceChildren();
  article.dataset.ready = "yes";
  await measure(page, model);
}

start().catch((error) => {
  status.textContent = t("failed", { why: error.message });
  console.error(error);
});
isServed().then((served) => {
  document.querySelector(".switch").hidden = !served;
});
