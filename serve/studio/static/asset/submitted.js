/** How many pictures wait for a decision; null for a person that does not decide. */
import * as api from "../core/api.js";
import { may } from "../core/session.js";
import { store } from "../core/store.js";

export const submitted = store(null);

/** Ask for their number again. */
export async function loadSubmitted() {
  if (!may("review")) return submitted.set(null);
  try {
    submitted.set((await api.get("/v1/assets", { query: { limit: 1 } })).counts.submitted);
  } catch {
    // The number is not news that is worth an error; the next view asks again.
  }
}
