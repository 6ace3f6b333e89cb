/** Requests that somebody is at work on: this tab keeps them over a reload, until they are sent. */

const KEY = "stepsize:drafts";
const drafts = read(); // what it was begun from, or its kind -> the request

/** The request, null where there is none. */
export const draftOf = (name) => structuredClone(drafts.get(name) ?? null);

export function keepDraft(name, spec) {
  drafts.set(name, structuredClone(spec));
  write();
}

export function dropDraft(name) {
  if (drafts.delete(name)) write();
}

export function dropDrafts() {
  drafts.clear();
  write();
}

function read() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Map(); // the browser lets nobody keep anything: they last until a reload
  }
}

function write() {
  try {
    if (drafts.size) sessionStorage.setItem(KEY, JSON.stringify([...drafts]));
    else sessionStorage.removeItem(KEY);
  } catch {
    // as above, or there is no room
  }
}
