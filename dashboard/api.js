/** Speaks to the service: JSON, the key where one is needed, ETags, and one kind of error. */

const TIMEOUT = 10_000; // ms
const REMEMBERED = 200; // answers
const KEY = "stepsize-key";

const answers = new Map();

/** The service refused, or (status 0) could not be reached; the message says why. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const setKey = (key) => sessionStorage.setItem(KEY, key);

/** The answer to a GET; the very same object again for as long as the service says so. */
export async function get(path) {
  const known = answers.get(path);
  const response = await ask(path, "GET", known ? { "If-None-Match": known.etag } : {});
  if (response.status === 304) return known.body;
  if (response.etag) {
    if (answers.size >= REMEMBERED) answers.clear();
    answers.set(path, response);
  }
  return response.body;
}

export const post = async (path) => (await ask(path, "POST", {})).body;

/** What is told of a job as it changes; null where a key is needed, which no EventSource sends. */
export const follow = (id) => (hasKey() ? null : new EventSource(`v1/jobs/${id}/events?names=`));

async function ask(path, method, headers) {
  if (hasKey()) headers.Authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  let response, body;
  try {
    const signal = AbortSignal.timeout(TIMEOUT);
    response = await fetch(path, { method, headers, signal, cache: "no-store" });
    body = response.status === 304 ? null : await response.json();
  } catch (error) {
    throw new ApiError(0, error.message);
  }
  if (response.ok || response.status === 304)
    return { status: response.status, etag: response.headers.get("ETag"), body };
  throw new ApiError(response.status, body.detail ?? body.title);
}
