/** Addresses within the dashboard: `#/page/id?view`, in which all that a page shows is written. */

export const PAGES = ["jobs", "compare", "sweeps", "workers", "usage", "webhooks", "new"];

/** What an address says; `page` is null where there is no such page. */
export function parse(hash) {
  const [path, query] = split(hash.replace(/^#/, ""));
  const view = new URLSearchParams(query);
  if (/^job_[0-9a-z]+$/.test(path)) return { page: "jobs", id: path, view }; // as links once were
  const [page = "jobs", id = null, ...rest] = path.split("/").filter(Boolean);
  const known = PAGES.includes(page) && rest.length === 0;
  return { page: known ? page : null, id, view };
}

function split(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** The address of a page. What is empty in `view` is left out. */
export function href(page, id = null, view = {}) {
  const query = queryOf(view);
  return `#/${page}${id ? `/${id}` : ""}${query ? `?${query}` : ""}`;
}

/** Commas, colons, slashes and tildes stay readable, as they may in the fragment of an address. */
export function queryOf(view) {
  const pairs = view instanceof URLSearchParams ? [...view] : Object.entries(view);
  const kept = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return text.replace(/%(2C|3A|2F|7E)/g, decodeURIComponent);
}

/** `view` with some entries changed; null takes one away. */
export function changed(view, changes) {
  const next = new URLSearchParams(view);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") next.delete(name);
    else next.set(name, value);
  }
  next.sort(); // one view has one address
  return next;
}

/** A pair of numbers, as `from~to`; null where there is none. */
export function pairOf(text) {
  const pair = (text ?? "").split("~").map(Number);
  const numbers = text && pair.length === 2 && pair.every(Number.isFinite);
  return numbers && pair[0] < pair[1] ? pair : null;
}
