// A model of no known kind: its inputs as fields.
import { Fields } from "./fields.js";

export function start(context) {
  const fields = new Fields(context.model, (feeds, answers) => context.answered(feeds, answers));
  context.place.replaceChildren(fields.element);
  return fields.run();
}
