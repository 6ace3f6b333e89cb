// Submits, finds and reads jobs with types from openapi.json alone; prints what the test looks at.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Job = components["schemas"]["JobOut"];
type Training = components["schemas"]["TrainingSpec"];

const [url, recorded] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url });

function training(name: string, maxLr: number): Training {
  return {
    kind: "training",
    name,
    model: { name: "mlp", params: { hidden: [16] } },
    data: { name: "digits" },
    batch_size: 32,
    optimizer: { name: "sgd" },
    schedule: { policy: "triangular2", base_lr: 0.01, max_lr: maxLr, step_size: { epochs: 2 } },
    length: { cycles: 2 },
  };
}

async function submitted(name: string): Promise<Job> {
  const { data, error, response } = await client.POST("/v1/jobs", {
    params: { header: { "Idempotency-Key": `key of ${name}` } },
    body: training(name, 0.1),
  });
  if (error !== undefined) throw new Error(error.detail ?? error.title);
  if (response.headers.get("Location") !== `/v1/jobs/${data.id}`) throw new Error("no Location");
  return data;
}

const first = await submitted("first");
const again = await submitted("first");
const second = await submitted("second");

const told = await client.GET("/v1/jobs/{job_id}", { params: { path: { job_id: first.id } } });
if (told.data === undefined) throw new Error(told.error.title);
const verbs: string[] = told.data.history.map((change) => change.verb);
const state: "queued" | "running" | "paused" | "succeeded" | "failed" | "cancelled" =
  told.data.state;

const etag = told.response.headers.get("ETag") ?? "";
const unchanged = await client.GET("/v1/jobs/{job_id}", {
  params: { path: { job_id: first.id }, header: { "If-None-Match": etag } },
});

const listed: string[] = [];
let cursor: string | null = null;
do {
  const page: { data?: components["schemas"]["JobsOut"] } = await client.GET("/v1/jobs", {
    params: { query: { limit: 1, kind: "training", state: ["queued"], ...(cursor && { cursor }) } },
  });
  if (page.data === undefined) throw new Error("no page");
  listed.push(...page.data.data.map((job) => job.id));
  cursor = page.data.next_cursor;
} while (cursor !== null);

const series = await client.GET("/v1/jobs/{job_id}/series", {
  params: { path: { job_id: recorded }, query: { names: "loss", points: 5 } },
});
if (series.data === undefined) throw new Error(series.error.title);
if (typeof series.data === "string") throw new Error("no JSON"); // CSV, Arrow, Parquet
const columns: { [name: string]: (number | null)[] } = series.data.columns;

const csv = await client.GET("/v1/jobs/{job_id}/series", {
  params: { path: { job_id: recorded } },
  headers: { Accept: "text/csv" },
  parseAs: "text",
});

const refused = await client.POST("/v1/jobs", { body: training("third", 0.001) });
if (refused.error === undefined) throw new Error("a peak below the base was accepted");
const pointers: string[] = (refused.error.errors ?? []).map((each) => each.pointer);

const missing = await client.GET("/v1/jobs/{job_id}", { params: { path: { job_id: "job_0" } } });

// What the contract forbids does not compile: each of these is an error, or tsc is one.
export const wrong: Training[] = [
  // @ts-expect-error: a field that does not exist
  { ...training("wrong", 1), lenght: { epochs: 1 } },
  // @ts-expect-error: of the other kind
  { ...training("wrong", 1), kind: "range_test" },
  // @ts-expect-error: a field of another policy
  { ...training("wrong", 1), schedule: { policy: "constant", lr: 0.1, max_lr: 0.2 } },
  // @ts-expect-error: no policy
  { ...training("wrong", 1), schedule: { lr: 0.1 } },
];

console.log(
  JSON.stringify({
    ids: [first.id, again.id, second.id],
    verbs,
    state,
    unchanged: unchanged.response.status,
    listed,
    columns,
    csv: csv.data,
    refused: refused.response.status,
    pointers,
    missing: missing.error?.detail,
  }),
);
