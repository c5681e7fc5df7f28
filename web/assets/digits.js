// From ink to the numbers that a model takes, by the description in its metadata (server/zoo_server/images/ink.py).
//
// The ink's box is cut out, scaled, centred in a square canvas, and averaged over blocks: as the digits of
// the data were made.

/** Of the proportions width / height below this, a stretch keeps them: a bare stroke stays one. */
const NARROW = 0.5;

/** Return a whole number, halves to the even one, as Python rounds. */
function rounded(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** Return what a model takes of ink n × n, 0 to 1; null without ink. `image` is the description. */
export function imageOf(ink, n, image) {
  const how = image.ink;
  const box = boxOf(ink, n);
  if (!box) return null;
  const [height, width] = scaledSize(box.rows, box.columns, how);
  let scaled = resized(box, height, width);
  if (how.binary) scaled = { ...scaled, values: scaled.values.map((value) => (value >= 0.5 ? 1 : 0)) };
  const drawn = averaged(centred(scaled, how), how.canvas, how.blocks);
  const { values } = resized({ rows: how.blocks, columns: how.blocks, values: drawn }, ...image.size);
  return Float32Array.from(values, (value) => image.low + value * (image.high - image.low));
}

function boxOf(ink, n) {
  let [left, top, right, bottom] = [n, n, -1, -1];
  for (let at = 0; at < n * n; at++) {
    if (ink[at] < 0.5) continue;
    const [x, y] = [at % n, Math.floor(at / n)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  if (right < 0) return null;
  const [rows, columns] = [bottom - top + 1, right - left + 1];
  const values = Float64Array.from({ length: rows * columns }, (_, at) => ink[(top + Math.floor(at / columns)) * n + left + (at % columns)]);
  return { rows, columns, values };
}

function scaledSize(height, width, how) {
  const [tall, wide] = how.box;
  if (how.fit === "stretch") return [tall, Math.max(1, rounded(wide * Math.min(1, width / height / NARROW)))];
  const factor = Math.min(tall / height, wide / width);
  return [Math.max(1, rounded(height * factor)), Math.max(1, rounded(width * factor))];
}

/** Resize: averaged over the area where it shrinks, bilinear between pixel centres where it grows. */
function resized({ rows, columns, values }, newRows, newColumns) {
  const [down, across] = [weights(rows, newRows), weights(columns, newColumns)];
  const half = new Float64Array(newRows * columns);
  for (let y = 0; y < newRows; y++)
    for (const [from, weight] of down[y]) for (let x = 0; x < columns; x++) half[y * columns + x] += weight * values[from * columns + x];
  const result = new Float64Array(newRows * newColumns);
  for (let y = 0; y < newRows; y++)
    for (let x = 0; x < newColumns; x++) for (const [from, weight] of across[x]) result[y * newColumns + x] += weight * half[y * columns + from];
  return { rows: newRows, columns: newColumns, values: result };
}

/** Return, for each new pixel, the old ones that it is made of, with their weights; they sum to 1. */
function weights(old, count) {
  return Array.from({ length: count }, (_, at) => {
    if (count < old) {
      const [low, high] = [(at * old) / count, ((at + 1) * old) / count];
      const parts = [];
      for (let from = Math.floor(low); from < Math.min(Math.ceil(high), old); from++)
        parts.push([from, Math.min(high, from + 1) - Math.max(low, from)]);
      const total = parts.reduce((sum, [, weight]) => sum + weight, 0);
      return parts.map(([from, weight]) => [from, weight / total]);
    }
    const position = Math.min(old - 1, Math.max(0, ((at + 0.5) * old) / count - 0.5));
    const left = Math.min(Math.floor(position), Math.max(old - 2, 0));
    return [[left, 1 - (position - left)], [Math.min(left + 1, old - 1), position - left]];
  });
}

/** Return the canvas with the scaled ink in its middle; what a centre of mass pushes out is lost. */
function centred({ rows, columns, values }, { canvas, centre }) {
  let [middleY, middleX] = [(rows - 1) / 2, (columns - 1) / 2];
  if (centre === "mass") {
    const total = values.reduce((sum, value) => sum + value, 0);
    middleY = values.reduce((sum, value, at) => sum + value * Math.floor(at / columns), 0) / total;
    middleX = values.reduce((sum, value, at) => sum + value * (at % columns), 0) / total;
  }
  const [top, left] = [rounded((canvas - 1) / 2 - middleY), rounded((canvas - 1) / 2 - middleX)];
  const result = new Float64Array(canvas * canvas);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) {
      const [toY, toX] = [y + top, x + left];
      if (toY >= 0 && toX >= 0 && toY < canvas && toX < canvas) result[toY * canvas + toX] = values[y * columns + x];
    }
  return result;
}

function averaged(values, canvas, blocks) {
  const step = Math.floor(canvas / blocks);
  const result = new Float64Array(blocks * blocks);
  for (let y = 0; y < blocks * step; y++)
    for (let x = 0; x < blocks * step; x++)
      result[Math.floor(y / step) * blocks + Math.floor(x / step)] += values[y * canvas + x] / (step * step);
  return result;
}

/** A two, as a hand draws it: the demonstration's first picture. */
export const TWO = [
  [[0.3, 0.32], [0.36, 0.2], [0.5, 0.15], [0.64, 0.2], [0.69, 0.33], [0.62, 0.47], [0.48, 0.62], [0.31, 0.83], [0.5, 0.83], [0.72, 0.82]],
];
