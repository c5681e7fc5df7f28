// What happens inside a recurrent layer, step by step, from the weights of the file: LSTM and GRU.
//
// ONNX keeps the gates in the order input, output, forget, cell (LSTM) and update, reset, hidden (GRU).

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

/** Return one gate's weighted sum for a unit; weights are one direction's. */
function sum(weights, units, features, gate, unit, x, hidden, withBias = [true, true]) {
  const row = gate * units + unit;
  let total = 0;
  if (withBias[0]) total += weights.bias[row];
  if (withBias[1]) total += weights.bias[weights.bias.length / 2 + row];
  for (let at = 0; at < features; at++) total += weights.input[row * features + at] * x[at];
  for (let at = 0; at < units; at++) total += weights.hidden[row * units + at] * hidden[at];
  return total;
}

function lstmStep(weights, units, features, x, state) {
  const gate = (number) => state.hidden.map((_, unit) => sum(weights, units, features, number, unit, x, state.hidden));
  const [input, output, forget] = [0, 1, 2].map((number) => gate(number).map(sigmoid));
  const candidate = gate(3).map(Math.tanh);
  const cell = state.cell.map((value, unit) => forget[unit] * value + input[unit] * candidate[unit]);
  const hidden = cell.map((value, unit) => output[unit] * Math.tanh(value));
  return { input, output, forget, cell, hidden };
}

function gruStep(weights, units, features, x, state) {
  const gate = (number) => state.hidden.map((_, unit) => sum(weights, units, features, number, unit, x, state.hidden));
  const [update, reset] = [0, 1].map((number) => gate(number).map(sigmoid));
  const nothing = state.hidden.map(() => 0);
  const hidden = state.hidden.map((before, unit) => {
    const seen = sum(weights, units, features, 2, unit, x, nothing, [true, false]);
    // linear_before_reset: the reset gate scales the recurrent sum, its bias included.
    const remembered = sum(weights, units, features, 2, unit, x.map(() => 0), state.hidden, [false, true]);
    const candidate = Math.tanh(seen + reset[unit] * remembered);
    return update[unit] * before + (1 - update[unit]) * candidate;
  });
  return { update, reset, hidden };
}

/**
 * Return what every step gives: lists of gates, cells and outputs, each a number a unit.
 *
 * `node` is the graph's LSTM or GRU, `weights` its tensors by name, `steps` the layer's inputs, a list of
 * numbers each. A second direction is a second list, read from the end.
 */
export function unrolled(node, weights, steps) {
  const [input, hidden, bias] = node.weights.map((name) => weights[name]);
  const directions = input.shape[0];
  const units = node.attributes.hidden_size;
  const features = input.shape[2];
  const part = ({ data }, direction) => data.slice((direction * data.length) / directions, ((direction + 1) * data.length) / directions);
  return Array.from({ length: directions }, (_, direction) => {
    const mine = { input: part(input, direction), hidden: part(hidden, direction), bias: part(bias, direction) };
    const step = node.op === "LSTM" ? lstmStep : gruStep;
    let state = { hidden: Array(units).fill(0), cell: Array(units).fill(0) };
    const order = direction ? [...steps].reverse() : steps;
    const seen = order.map((x) => (state = step(mine, units, features, x, state)));
    return direction ? seen.reverse() : seen;
  });
}
