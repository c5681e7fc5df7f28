// Runs any ONNX file: dropped on the page, chosen, or one of the zoo's; says how a Keras file becomes one.
import { Fields } from "./fields.js";
import { get, h, t } from "./dom.js";
import { exportCommand } from "./keras-file.js";
import { Model } from "./ort.js";

const status = document.getElementById("status");
const place = document.getElementById("dropped");
const drop = document.getElementById("drop");
const file = document.getElementById("file");

/** Open a file from its bytes as they come. */
async function open(name, reading) {
  status.textContent = t("loading");
  place.replaceChildren();
  delete place.dataset.opened;
  try {
    const bytes = await reading;
    const command = exportCommand(name, new Uint8Array(bytes));
    if (command) {
      status.textContent = t("keras_file", { name });
      place.replaceChildren(h("pre", { tabindex: "0" }, h("code", { text: command })));
      return;
    }
    const model = await Model.open(bytes);
    const fields = new Fields(model);
    status.textContent = t("opened", { name, size: (bytes.byteLength / 1000).toFixed(1), count: model.inputs.length + model.outputs.length });
    place.replaceChildren(fields.element);
    await fields.run();
    place.dataset.opened = name;
  } catch (error) {
    status.textContent = t("cannot_open", { name, why: error.message ?? error });
  }
}

const openFile = (chosen) => chosen && open(chosen.name, chosen.arrayBuffer());

file.addEventListener("change", () => openFile(file.files[0]));
// Anywhere on the page: a file that misses the box must not replace the page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  openFile(event.dataTransfer.files[0]);
});
for (const button of document.querySelectorAll("[data-example]")) {
  const name = button.dataset.example;
  button.addEventListener("click", () => open(`${name}.onnx`, get(`data/${name}/model.onnx`).then((answer) => answer.arrayBuffer())));
}
