/** Signing in and out: the key lies in a cookie that no script can read. */

import { ApiError, get, send } from "./api.js";
import { setText } from "./dom.js";
import { dropDrafts } from "./drafts.js";

/** The form that asks for a key, and the corner that says whose it is; `changed` hears of both. */
export function createSession(form, corner, changed) {
  const [who, leave] = [corner.querySelector("span"), corner.querySelector("button")];
  const secret = form.querySelector("input");
  const fault = form.querySelector("[role=alert]");
  let known = false;
  let signedIn = false;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send("v1/session", "POST", { key: secret.value.trim() });
      form.reset();
      setText(fault, "");
      form.hidden = true;
      forget();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(fault, error.status === 401 ? "The service refuses this key." : error.message);
    }
  });
  leave.addEventListener("click", async () => {
    try {
      await send("v1/session", "DELETE");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return setText(who, `Still signed in: ${error.message}`);
    }
    dropDrafts();
    location.reload(); // what is shown is theirs who just left
  });

  function forget() {
    known = false;
    changed();
  }

  return {
    get signedIn() {
      return signedIn;
    },
    /** The service answers: whom does it take us for? */
    async admitted() {
      form.hidden = true;
      if (known) return;
      const me = await get("v1/session");
      known = true;
      signedIn = !me.anonymous;
      corner.hidden = me.anonymous;
      const whose = me.owner === me.name ? "" : ` (${me.owner})`;
      setText(who, me.anonymous ? "" : me.name + whose);
    },
    /** The service wants a key. */
    refused() {
      known = false;
      corner.hidden = true;
      if (!form.hidden) return;
      form.hidden = false;
      secret.focus();
    },
  };
}
