/** Changes of many pictures at once. */
import * as api from "../../core/api.js";
import { idsOf } from "./selection.js";

const AT_ONCE = 500;

/**
 * Do something with the selected pictures of a search, see `POST /v1/images/bulk`. Returns what
 * failed, with the `id`, `code` and `message` of each.
 */
export async function changeAll(selection, q, action, value) {
  if (selection.isInverted && !selection.ids.size) return changeFound(q, { action, value });
  const ids = await idsOf(selection, q);
  const failed = [];
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    const body = { ids: ids.slice(start, start + AT_ONCE), action, value };
    failed.push(...(await api.post("/v1/images/bulk", body)).failed);
  }
  return failed;
}

/** Change all that a search finds; the service takes it in steps. */
async function changeFound(q, change) {
  const failed = [];
  for (let more = true; more; ) {
    const answer = await api.post("/v1/images/bulk", { q, ...change });
    failed.push(...answer.failed);
    more = answer.more;
  }
  return failed;
}
