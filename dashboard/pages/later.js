/** A page whose code is fetched when somebody first looks at it, so that the others come sooner. */

import { el } from "../dom.js";

/** `load()` gives the page. */
export function createLater(title, load) {
  const element = el("div");
  let page = null;
  return {
    element,
    title,
    turned: () => page?.turned?.(),
    leave: () => page?.leave?.(),
    async refresh() {
      if (!page) {
        page = await load();
        element.replaceChildren(page.element);
      }
      return page.refresh();
    },
  };
}
