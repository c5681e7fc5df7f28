// From ink to the numbers that a digit model takes, as the data sets themselves were made.
//
// scikit-learn's digits were written as bitmaps of 32 × 32 and counted in blocks of 4 × 4: each of the
// 8 × 8 numbers says how many of 16 pixels hold ink. The digit fills the bitmap's height.

const SIDE = 32;

/** Return the box of a mask's ink {left, top, right, bottom}, null without ink; the mask is n × n. */
export function inkBox(mask, n) {
  let [left, top, right, bottom] = [n, n, -1, -1];
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) {
      if (!mask[y * n + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return right < 0 ? null : { left, top, right: right + 1, bottom: bottom + 1 };
}

/** Return the digit as a bitmap of 32 × 32: cut out, scaled to the height, centred; null without ink. */
export function bitmap(mask, n) {
  const box = inkBox(mask, n);
  if (!box) return null;
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  // A dot or a short dash is not a digit blown up to the whole height.
  const scale = SIDE / Math.max(height, width * 1.05, n * 0.25);
  const [shiftX, shiftY] = [(SIDE - width * scale) / 2, (SIDE - height * scale) / 2];
  const bits = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const fromX = Math.floor((x + 0.5 - shiftX) / scale + box.left);
      const fromY = Math.floor((y + 0.5 - shiftY) / scale + box.top);
      if (fromX < 0 || fromY < 0 || fromX >= n || fromY >= n) continue;
      bits[y * SIDE + x] = mask[fromY * n + fromX] ? 1 : 0;
    }
  }
  return bits;
}

/** Count a bitmap's ink in blocks: 8 × 8 numbers from 0 to 16. */
export function counted(bits) {
  const counts = new Float32Array(64);
  for (let y = 0; y < SIDE; y++) for (let x = 0; x < SIDE; x++) counts[(y >> 2) * 8 + (x >> 2)] += bits[y * SIDE + x];
  return counts;
}

/** Enlarge 8 × 8 to n × n between pixel centres, as the training data of the larger models was. */
export function enlarged(counts, n, high) {
  const result = new Float32Array(n * n);
  const at = (place) => {
    const position = Math.min(7, Math.max(0, ((place + 0.5) * 8) / n - 0.5));
    const left = Math.min(6, Math.floor(position));
    return [left, position - left];
  };
  for (let y = 0; y < n; y++) {
    const [top, down] = at(y);
    for (let x = 0; x < n; x++) {
      const [left, right] = at(x);
      const value = (row, column) => counts[row * 8 + column];
      const above = value(top, left) * (1 - right) + value(top, left + 1) * right;
      const below = value(top + 1, left) * (1 - right) + value(top + 1, left + 1) * right;
      result[y * n + x] = ((above * (1 - down) + below * down) * high) / 16;
    }
  }
  return result;
}

/** Return what a model of n × n pixels takes for a mask of m × m, null without ink. */
export function digit(mask, m, n, high) {
  const bits = bitmap(mask, m);
  if (!bits) return null;
  const counts = counted(bits);
  return n === 8 ? counts : enlarged(counts, n, high);
}

/** A two, as a hand draws it: the demonstration's first picture. */
export const TWO = [
  [[0.3, 0.32], [0.36, 0.2], [0.5, 0.15], [0.64, 0.2], [0.69, 0.33], [0.62, 0.47], [0.48, 0.62], [0.31, 0.83], [0.5, 0.83], [0.72, 0.82]],
];
