// The picture that the tutorial's figures work on: a 2 of 16 × 16, values from 0 to 1.
import { TWO } from "./digits.js";

export const SIDE = 16;

/** Return the digit's values, shifted to the right by some pixels. */
export function two(shift = 0) {
  const size = SIDE * 8;
  const context = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true });
  context.lineWidth = size * 0.1;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of TWO) {
    context.beginPath();
    for (const [x, y] of stroke) context.lineTo(x * size + (shift - 0.5) * 8, y * size);
    context.stroke();
  }
  const { data } = context.getImageData(0, 0, size, size);
  const values = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) values[(y >> 3) * SIDE + (x >> 3)] += data[(y * size + x) * 4 + 3] / 255 / 64;
  return values;
}

/** Return a convolution of a square map, with its side; `pad` is how many zeros lie before it. */
export function convolved(values, side, kernel, size, stride, padding) {
  const out = padding === "same" ? Math.ceil(side / stride) : Math.floor((side - size) / stride) + 1;
  const total = padding === "same" ? Math.max(0, (out - 1) * stride + size - side) : 0;
  const pad = Math.floor(total / 2);
  const result = new Float32Array(out * out);
  for (let y = 0; y < out; y++)
    for (let x = 0; x < out; x++)
      for (let row = 0; row < size; row++)
        for (let column = 0; column < size; column++) {
          const [sy, sx] = [y * stride + row - pad, x * stride + column - pad];
          if (sy >= 0 && sx >= 0 && sy < side && sx < side) result[y * out + x] += values[sy * side + sx] * kernel[row * size + column];
        }
  return { values: result, side: out, pad };
}

/** Return a kernel of a kind and size. */
export function kernelOf(kind, size) {
  const middle = (size - 1) / 2;
  const at = (make) => Float32Array.from({ length: size * size }, (_, place) => make(Math.floor(place / size) - middle, (place % size) - middle));
  const count = size * size;
  switch (kind) {
    case "blur":
      return at(() => 1 / count);
    case "vertical":
      return at((_, x) => (size === 1 ? 1 : Math.abs(x) < 0.6 ? (size - 1) / size : -1 / size) / (size / 2));
    case "level":
      return at((y) => (size === 1 ? 1 : Math.abs(y) < 0.6 ? (size - 1) / size : -1 / size) / (size / 2));
    case "sharp":
      return at((y, x) => (Math.hypot(x, y) < 0.6 || size === 1 ? 2 : 0) - 1 / count);
    default:
      return at((y, x) => (Math.hypot(x, y) < 0.6 ? (size === 1 ? 1 : (count - 1) / count) : -1 / count) * 2);
  }
}
