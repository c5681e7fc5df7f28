// Recognises Keras files, which a browser cannot run, and says what makes an ONNX file of one.

/** Bytes at the end of a zip that hold the names of its members; a .keras file has few. */
const DIRECTORY_BYTES = 65_536;

const begins = (bytes, signature) => Array.from(signature).every((letter, at) => bytes[at] === letter.charCodeAt(0));

/** Return the command that exports a Keras file, null for any other. By content: a download may have any name. */
export function exportCommand(name, bytes) {
  const stem = name.replace(/\.(keras|h5|hdf5)$/i, "");
  const output = quoted(`${stem}.onnx`);
  // Keras reads a file by its suffix.
  const named = (suffix, others = []) => quoted([suffix, ...others].some((each) => name.endsWith(each)) ? name : stem + suffix);
  if (begins(bytes, "PK\x03\x04")) {
    const members = new TextDecoder("latin1").decode(bytes.subarray(-DIRECTORY_BYTES));
    return members.includes("model.weights.h5") ? `zoo export ${named(".keras")} -o ${output}` : null;
  }
  // Keras 2's files may hold Python code: exporting one needs the user's word.
  return begins(bytes, "\x89HDF") ? `zoo export ${named(".h5", [".hdf5"])} --trust -o ${output}` : null;
}

/** Return a word as a shell reads it. */
function quoted(word) {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
