/** Speaks to the service: JSON, ETags, and one kind of error. */

const TIMEOUT = 10_000; // ms
const REMEMBERED = 200; // answers

const answers = new Map();

/** The service refused, or (status 0) could not be reached; the message says why. */
export class ApiError extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors; // [{pointer, detail}] of a request that is not valid
  }
}

/**
 * The answer to a GET; the very same object again for as long as the service says so. It waits up
 * to `wait` seconds for another one, where the path is one that can be waited for.
 */
export async function get(path, { wait = 0, signal } = {}) {
  const known = answers.get(path);
  const headers = known ? { "If-None-Match": known.etag } : {};
  if (wait) headers.Prefer = `wait=${wait}`;
  const response = await ask(path, "GET", headers, { wait, signal });
  if (response.status === 304) return known.body;
  if (response.etag) {
    if (answers.size >= REMEMBERED) answers.clear();
    answers.set(path, response);
  }
  return response.body;
}

export const post = async (path) => (await ask(path, "POST", {})).body;

/** What is told of a job as it changes. */
export const follow = (id) => new EventSource(`v1/jobs/${id}/events?names=`);

/** The same of many jobs on one stream. */
export const followAll = (ids) => new EventSource(`v1/events?jobs=${ids.join(",")}&names=`);

/** A request that is not a GET, with a JSON body where there is one. */
export async function send(path, method, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  answers.clear(); // they may be another caller's
  return (await ask(path, method, headers, { content: body && JSON.stringify(body) })).body;
}

async function ask(path, method, headers, { content, wait = 0, signal } = {}) {
  let response, body;
  try {
    const patience = AbortSignal.timeout(TIMEOUT + 1000 * wait);
    const until = signal ? AbortSignal.any([patience, signal]) : patience;
    const options = { method, headers, signal: until, body: content, cache: "no-store" };
    response = await fetch(path, options);
    body = [204, 304].includes(response.status) ? null : await response.json();
  } catch (error) {
    throw new ApiError(0, error.message);
  }
  if (response.ok || response.status === 304)
    return { status: response.status, etag: response.headers.get("ETag"), body };
  throw new ApiError(response.status, body.detail ?? body.title, body.errors);
}
