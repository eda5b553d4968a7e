/** The template of a series and its variants, as a person types them. */

/** Return the variables of a template, in their order; doubled braces are text. */
export function variablesOf(template = "") {
  const plain = template.replaceAll("{{", "").replaceAll("}}", "");
  return [...new Set([...plain.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))];
}

/**
 * Return the variants that lines of text name: one variant a line, the values of several variables
 * separated by slashes.
 */
export function variantsOf(template, text = "") {
  const names = variablesOf(template);
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.map((line) => {
    const values = names.length > 1 ? line.split("/").map((value) => value.trim()) : [line];
    return Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""]));
  });
}
