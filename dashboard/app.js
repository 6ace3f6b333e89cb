/** Puts the dashboard together: the address says which job is shown, one loop keeps all fresh. */

import { ApiError } from "./api.js";
import { setText } from "./dom.js";
import { createPage } from "./job.js";
import { createList } from "./list.js";
import { createSession } from "./session.js";

const ACTIVE = 1000; // ms between refreshes while jobs run,
const IDLE = 2000; // while none does,
const SLOW = 5000; // at most while the service takes its time,
const RARELY = 60_000; // and while nobody looks or the key is missing

const part = (id) => document.getElementById(id);
const main = part("main");
const list = createList(part("jobs"), part("more"));
const nav = document.querySelector("nav");
const session = createSession(part("key"), part("who"), wake);
const welcome = part("welcome");
const [cli, curl] = [part("cli"), part("curl")]; // not of the page while a job is shown
let page = null;
let woken = false;
let resume = () => {};

window.addEventListener("hashchange", route);
window.addEventListener("online", wake);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) page?.leave(); // a browser has few connections, and nobody looks
  wake();
});
part("more").addEventListener("click", wake);
part("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address belongs to the job
  main.focus();
});
teach();
route();
run();

function route() {
  const id = location.hash.slice(1);
  if (page?.id === id) return;
  page?.leave();
  page = /^job_[0-9a-z]+$/.test(id) ? createPage(id, wake) : null;
  if (!page) document.title = "stepsize";
  main.replaceChildren(page?.element ?? welcome);
  document.body.classList.toggle("selected", page !== null);
  list.select(id);
  window.scrollTo(0, 0);
  if (!part("jobs").offsetParent) main.focus(); // the link that had the focus is hidden
  wake();
}

function wake() {
  woken = true;
  resume();
}

async function run() {
  for (;;) {
    woken = false;
    const pause = document.hidden ? RARELY : await refresh();
    if (woken) continue;
    let timer;
    await new Promise((done) => {
      resume = done;
      timer = setTimeout(done, pause);
    });
    clearTimeout(timer);
  }
}

/** Brings everything up to date; how long that is good for, in ms. */
async function refresh() {
  const began = performance.now();
  try {
    const { empty, active } = await list.refresh();
    part("none").hidden = !empty;
    await page?.refresh();
    setText(part("notice"), "");
    await session.admitted();
    reveal(true);
    teach();
    const took = performance.now() - began;
    return Math.max(active ? ACTIVE : IDLE, Math.min(SLOW, 3 * took));
  } catch (error) {
    setText(part("notice"), explained(error));
    if (error.status !== 401) return ACTIVE;
    session.refused();
    reveal(false); // what is still there may be of somebody who has left
    return RARELY;
  }
}

function reveal(shown) {
  for (const each of [nav, main]) each.hidden = !shown;
}

function explained(error) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return `A fault of the dashboard: ${error.message}`;
  }
  if (error.status === 0) return "Connection lost: what is shown may be old. Trying again …";
  return error.status === 401 ? "" : `The service answers: ${error.message}`;
}

/** The lines that submit a first job, to this very service. */
function teach() {
  const spec = {
    kind: "range_test",
    model: { name: "mlp", params: { hidden: [64] } },
    data: { name: "digits" },
    batch_size: 32,
    optimizer: { name: "sgd", params: { momentum: 0.9 } },
    range: { start: 1e-5, end: 10 },
  };
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const fields = Object.entries(spec).map(([name, value]) => `"${name}": ${JSON.stringify(value)}`);
  const body = `{\n  ${fields.join(",\n  ")}\n}`;
  const bearer = session.signedIn ? ` -H "Authorization: Bearer $STEPSIZE_API_KEY"` : "";
  const headers = `-H 'Content-Type: application/json'${bearer}`;
  setText(curl, `curl ${base}/v1/jobs ${headers} -d '${body}'`);
  const lines = [
    `STEPSIZE_URL=${base} stepsize range-test --model mlp --model-param 'hidden=[64]'`,
    "--data digits --optimizer sgd --optimizer-param momentum=0.9 --batch-size 32 --start 1e-5",
  ];
  setText(cli, lines.join(" \\\n  "));
}
