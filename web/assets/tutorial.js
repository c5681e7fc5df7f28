// The tutorial's figures: each starts when it comes into view, so that the page paints first.
import { get, t } from "./dom.js";
import { Model } from "./ort.js";

const PLAYS = {
  network: () => import("./play-network.js"),
  activation: () => import("./play-activation.js"),
  convolution: () => import("./play-convolution.js"),
  pool: () => import("./play-pool.js"),
  flatten: () => import("./play-flatten.js"),
};

/** Start a model's own demonstration, as its page has it, without the comparison with a server. */
async function demonstrate(place, name) {
  const page = await (await get(`data/${name}/page.json`)).json();
  const [demonstration, model, taps] = await Promise.all([
    import(`./demo-${page.kind}.js`),
    Model.open(`data/${name}/model.onnx`),
    Model.open(`data/${name}/taps.onnx`),
  ]);
  await demonstration.start({ page, name, place, model, taps, answered() {} });
}

async function start(figure) {
  const place = figure.querySelector(".place");
  const { play, name } = figure.dataset;
  place.textContent = t("loading");
  try {
    if (play === "demo") await demonstrate(place, name);
    else await (await PLAYS[play]()).start(place, name);
    figure.dataset.ready = "yes";
  } catch (error) {
    place.textContent = t("failed", { why: error.message });
    console.error(error);
  }
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      start(target);
    }
  },
  { rootMargin: "300px" },
);
for (const figure of document.querySelectorAll("[data-play]")) observer.observe(figure);
