// Builds elements, and holds the page's words and colours.

/** Return an element: attributes, listeners (onclick: …) and children; `class` and `text` are short forms. */
export function h(tag, attributes = {}, ...children) {
  const svg = SVG_TAGS.has(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("aria-")) element.setAttribute(name, value);
    else if (value === false) continue;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG_TAGS = new Set(["svg", "g", "line", "polyline", "circle", "rect", "path", "svgtext"]);

/** Return an SVG text. */
export function label(x, y, text, anchor = "start") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
  element.setAttribute("x", x);
  element.setAttribute("y", y);
  element.setAttribute("text-anchor", anchor);
  element.textContent = text;
  return element;
}

const words = JSON.parse(document.getElementById("words").textContent);

/** Return the page's words for a key, with {name} replaced. */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The site's own folder, relative to this page. */
export const root = document.body.dataset.root;

/** Return a number as people write it: few digits, no exponent where it is of everyday size. */
export function short(value, digits = 3) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1);
  return String(Number(value.toPrecision(Math.max(digits, Math.ceil(Math.log10(size + 1e-12))))));
}

const colours = new Map();

/** Return a CSS colour of the page as [red, green, blue], whatever the scheme. */
export function colour(name) {
  if (!colours.has(name)) colours.set(name, computed(name));
  return colours.get(name);
}

function computed(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  probe.style.color = `var(--${name})`;
  const parts = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return parts.slice(0, 3);
}

/** Call a function whenever the colour scheme changes. */
export function onScheme(paint) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  addEventListener("scheme", paint);
}
onScheme(() => colours.clear());

/** Fetch one of the site's own files; raises an Error that names it. */
export async function get(path) {
  const answer = await fetch(root + path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}
