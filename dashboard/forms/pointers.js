/** JSON pointers (RFC 6901): where something is in a document, and how to change it there. */

const escaped = (part) => String(part).replaceAll("~", "~0").replaceAll("/", "~1");

export const below = (pointer, part) => `${pointer}/${escaped(part)}`;

export const partsOf = (pointer) =>
  pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

export const parentOf = (pointer) => pointer.slice(0, pointer.lastIndexOf("/"));

/** Whether one place is another, or within it. */
export const within = (pointer, outer) => pointer === outer || pointer.startsWith(`${outer}/`);

export const isObject = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** The value at a pointer, undefined where there is none. */
export function at(document, pointer) {
  let value = document;
  for (const part of partsOf(pointer)) {
    const there = value !== null && typeof value === "object" && Object.hasOwn(value, part);
    if (!there) return undefined;
    value = value[part];
  }
  return value;
}

/** Writes a value into a document, and the objects on the way to it; undefined takes it out. */
export function put(document, pointer, value) {
  const parts = partsOf(pointer);
  const last = parts.pop();
  let holder = document;
  for (const part of parts) {
    const next = holder[part];
    if (next === null || typeof next !== "object") {
      if (value === undefined) return;
      holder[part] = {};
    }
    holder = holder[part];
  }
  if (value !== undefined) holder[last] = value;
  else if (Array.isArray(holder)) holder.splice(Number(last), 1);
  else delete holder[last];
}
