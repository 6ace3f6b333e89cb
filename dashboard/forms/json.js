/** JSON text as it is written: where each part of it is, and where it stops being JSON. */

import { below } from "./pointers.js";

const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/.source;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])/.source;
const TOKEN = new RegExp(`\\s*(${TEXT}|${NUMBER}|(?:true|false|null)\\b|[{}[\\],:])`, "y");

class Fault extends Error {}

/** `{value, places}`, places being pointer -> offset; or `{fault, offset}` with what is wrong. */
export function read(text) {
  const places = new Map();
  let next = 0;
  let start = 0; // of the latest token
  try {
    const value = part("", token("a value"));
    if (text.slice(next).trim()) refuse("nothing more");
    return { value, places };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { fault: error.message, offset: Math.min(start, text.trimEnd().length) };
  }

  function refuse(wanted) {
    start = next + text.slice(next).search(/\S|$/);
    const rest = /^("[^"\n]*"?|[\w.+-]+|.|$)/.exec(text.slice(start))[0];
    throw new Fault(`expected ${wanted}, found ${rest ? rest.slice(0, 40) : "the end"}`);
  }

  function token(wanted, allowed = null) {
    TOKEN.lastIndex = next;
    const found = TOKEN.exec(text);
    if (!found || (allowed && !allowed.includes(found[1][0]))) refuse(wanted);
    next = TOKEN.lastIndex;
    start = next - found[1].length;
    return found[1];
  }

  function part(pointer, first) {
    if ("}],:".includes(first)) {
      next = start;
      refuse("a value");
    }
    if (!places.has(pointer)) places.set(pointer, start);
    if (first === "{") return object(pointer);
    return first === "[" ? list(pointer) : JSON.parse(first);
  }

  function object(pointer) {
    const made = {};
    for (let name = token("a name in quotes or }", '"}'); name !== "}";) {
      const key = JSON.parse(name);
      places.set(below(pointer, key), start);
      token(": after the name", ":");
      const each = part(below(pointer, key), token("a value"));
      if (key !== "__proto__") made[key] = each;
      name = token(", or }", ",}");
      if (name === ",") name = token("a name in quotes", '"');
    }
    return made;
  }

  function list(pointer) {
    const made = [];
    let first = token("a value or ]");
    if (first === "]") return made;
    for (;;) {
      made.push(part(below(pointer, made.length), first));
      if (token(", or ]", ",]") === "]") return made;
      first = token("a value");
    }
  }
}

/** `line 3, column 5` */
export function lineOf(text, offset) {
  const before = text.slice(0, offset).split("\n");
  return `line ${before.length}, column ${before.at(-1).length + 1}`;
}
