/** The buttons that move a job. */

import { href } from "../address.js";
import { ApiError, post, send } from "../api.js";
import { finished } from "../describe.js";
import { el, setText } from "../dom.js";

const LOSING = {
  cancel: "Cancel this job? To go on with it later, pause it instead.",
  delete: "Delete this job, its series and its files? Nothing brings them back.",
};

/** Buttons for what `show(job)` says is possible; `moved(verb)` hears when one was done. */
export function createActions(id, moved) {
  const refusal = el("p", { class: "problem", role: "alert" });
  const button = (verb, name) =>
    el("button", { type: "button", hidden: "", onclick: () => act(verb) }, name);
  const [pause, resume, cancel, retry, remove] = [
    button("pause", "Pause"), button("resume", "Resume"), button("cancel", "Cancel"),
    button("retry", "Retry"), button("delete", "Delete"),
  ];
  const extend = el("a", { class: "button", hidden: "" }, "Continue");
  const like = href("new", null, { like: id });
  const again = el("a", { class: "button", href: like }, "Edit and run again");
  const beside = href("compare", null, { jobs: id });
  const compare = el("a", { class: "button", href: beside }, "Compare");
  const buttons = [pause, resume, retry, cancel, extend, again, compare, remove];
  const element = el("div", { class: "actions" }, ...buttons);
  let job = null;
  return { element, refusal, show };

  function show(next) {
    job = next;
    const held = job.state === "paused" || job.pause_requested;
    pause.hidden = finished(job) || held || job.cancel_requested;
    resume.hidden = !held || job.cancel_requested;
    cancel.hidden = finished(job);
    cancel.disabled = job.cancel_requested;
    retry.hidden = !["failed", "cancelled"].includes(job.state);
    remove.hidden = !finished(job);
    extend.hidden = job.kind !== "training" || job.checkpoint === null || !finished(job);
    extend.href = href("new", null, { from: id });
  }

  async function act(verb) {
    const losing = verb === "delete" || (verb === "cancel" && job?.state === "running");
    if (losing && !confirm(LOSING[verb])) return;
    setText(refusal, "");
    try {
      if (verb === "delete") await send(`v1/jobs/${id}`, "DELETE");
      else await post(`v1/jobs/${id}/${verb}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(refusal, `Could not ${verb}: ${error.message}`);
    }
    moved(verb);
  }
}
