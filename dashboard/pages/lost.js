/** The page of an address that is none. */

import { el } from "../dom.js";

export function createLostPage() {
  const element = el("section", {},
    el("h1", {}, "No such page"),
    el("p", {}, "The link is wrong, or of another version. ",
      el("a", { href: "#/jobs" }, "All jobs")));
  return { element, title: "No such page", refresh: async () => false };
}
