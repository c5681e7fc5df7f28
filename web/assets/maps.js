// Feature maps and vectors on canvases: blue for positive, orange for negative, nothing for zero.
import { colour } from "./dom.js";

/** Paint rows × columns values; `scale` is the value at full colour. */
export function paintMap(canvas, values, rows, columns, scale) {
  if (canvas.width !== columns || canvas.height !== rows) {
    canvas.width = columns;
    canvas.height = rows;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const [plus, minus] = [colour("blue"), colour("orange")];
  for (let at = 0; at < rows * columns; at++) {
    const [red, green, blue] = values[at] < 0 ? minus : plus;
    image.data.set([red, green, blue, 255 * Math.min(1, Math.abs(values[at]) / (scale || 1))], at * 4);
  }
  context.putImageData(image, 0, 0);
}

/** Paint ink on paper from values 0 to `high`; three channels are colours. */
export function paintImage(canvas, values, rows, columns, channels, high) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const ink = colour("text");
  for (let at = 0; at < rows * columns; at++) {
    if (channels === 3) {
      const value = (channel) => (255 * values[at * 3 + channel]) / high;
      image.data.set([value(0), value(1), value(2), 255], at * 4);
    } else image.data.set([...ink, (255 * values[at]) / high], at * 4);
  }
  context.putImageData(image, 0, 0);
}

/** Return base64 values as numbers: `u8` bytes, or `f32`. */
export function decoded({ type, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return type === "u8" ? Float32Array.from(bytes) : new Float32Array(bytes.buffer);
}
