/** Jobs in words: what one is, how it goes, and what came out of it. */

import { count, duration, percent, secondsBetween, short } from "./numbers.js";

export const STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];

export const finished = (job) => ["succeeded", "failed", "cancelled"].includes(job.state);
export const moving = (job) => job.state === "queued" || job.state === "running";
export const kindOf = (job) => job.kind.replace("_", " ");

export const FOREIGN = "Its specification is that of another version of stepsize, and cannot be" +
  " read here: what is shown is what is known without it.";

/** Whether this dashboard knows what the job's specification says; another version may not. */
export function readable({ kind, spec }) {
  const named = [spec.model, spec.data, spec.optimizer].every((part) => part?.name);
  return Boolean(named && (kind === "training" ? spec.schedule?.policy : spec.range));
}

export function titleOf(job) {
  if (job.name) return job.name;
  return readable(job) ? `${job.spec.model.name} on ${job.spec.data.name}` : job.id;
}

/** What a job trains, and with what. */
export function modelOf(job) {
  const { model, data, optimizer } = job.spec;
  return readable(job) ? `${model.name} · ${data.name} · ${optimizer.name}` : "of another version";
}

/** What a job follows: a policy, or the ramp of a range test. */
export function scheduleOf(job) {
  const { kind, spec } = job;
  if (!readable(job)) return "";
  if (kind === "training") {
    const { policy, max_lr: top, lr } = spec.schedule;
    const peak = [top, lr].find((rate) => typeof rate === "number");
    return peak === undefined ? policy : `${policy} ${short(peak, 3)}`;
  }
  return `${short(spec.range.start, 2)} to ${short(spec.range.end, 2)}`;
}

export function factsOf(job) {
  const { optimizer, batch_size: batch, model, data, precision } = job.spec;
  const { device, threads, population } = job.resolved ?? {};
  const known = readable(job);
  const parts = [kindOf(job)];
  if (known) parts.push(model.name, data.name, optimizer.name, `batch ${batch}`);
  if (known && precision !== "fp32") parts.push(precision);
  if (device) parts.push(threads ? `${device}, ${threads} thread${threads > 1 ? "s" : ""}` : device);
  if (population > 1) parts.push(`${population} runs at once`);
  if (job.attempt > 1) parts.push(`attempt ${job.attempt}`);
  parts.push(`submitted ${new Date(job.created_at).toLocaleString()}`);
  if (job.started_at) {
    const seconds = secondsBetween(job.started_at, job.finished_at);
    const took = duration(job.finished_at ? seconds : Math.floor(seconds));
    parts.push(job.finished_at ? `took ${took}` : `running for ${took}`);
  }
  return [...parts, job.id].join(" · ");
}

export function outcomeOf(job) {
  const { result, state } = job;
  const { iteration, iterations } = job.progress;
  const done = `${count(iteration)}${iterations ? ` of ${count(iterations)}` : ""} iterations`;
  if (state === "queued") return "Waiting for a worker.";
  if (state === "running" && job.cancel_requested) return `Stopping, after ${done}.`;
  if (state === "running") return job.pause_requested ? `Pausing, after ${done}.` : `${done}.`;
  if (state === "paused") return `Paused, after ${done}.`;
  if (!result) return `Ended after ${done}.`;
  if (job.kind === "range_test") return rangeTestOutcome(result);
  const parts = [];
  const { val_accuracy: accuracy, train_loss: loss, diverged_at: diverged } = result;
  if (accuracy !== null) parts.push(`validation accuracy ${percent(accuracy)}`);
  if (loss !== null) parts.push(`training loss ${short(loss)}`);
  const end = parts.length ? `At the end: ${parts.join(", ")}.` : "No finite loss at the end.";
  const { stopped } = result; // where its sweep had no more use for it
  if (stopped)
    return `Stopped early at iteration ${count(stopped.iteration)}: ${stopped.why}. ${end}`;
  if (diverged !== null) return `Diverged at iteration ${count(diverged)}. ${end}`;
  const { ensemble } = result;
  if (!ensemble) return end;
  const { members, val_accuracy: together } = ensemble;
  return `${end} The average of the last ${members} snapshots: ${percent(together)}.`;
}

function rangeTestOutcome({ status, advice, suggestion, agreement }) {
  if (!suggestion) return `No suggestion: ${status.replaceAll("_", " ")}. ${advice ?? ""}`;
  const { base_lr: base, max_lr: max, fixed_lr: fixed } = suggestion;
  const cycle = `cycle the learning rate between ${short(base)} and ${short(max)}`;
  const single = fixed ? `, or keep it at ${short(fixed)}` : "";
  const sure = agreement ? ` Agreement with the other checks: ${agreement}.` : "";
  return `Suggestion: ${cycle}${single}.${sure}`;
}

/** The one figure that a list shows of a job; `loss` is its last one, where it is known. */
export function figureOf({ state, kind, result, error }, loss) {
  if (state === "failed") return error.reason;
  if (!result) return loss === undefined || loss === null ? "" : `loss ${short(loss)}`;
  if (kind === "range_test") {
    const best = result.suggestion;
    return best ? `lr ${short(best.base_lr, 2)} to ${short(best.max_lr, 2)}` : "no suggestion";
  }
  if (result.diverged_at !== null) return `diverged at ${count(result.diverged_at)}`;
  const accuracy = result.val_accuracy === null ? "" : ` · ${percent(result.val_accuracy)}`;
  return `loss ${short(result.train_loss)}${accuracy}`;
}
