/** Takes text out of the page to the clipboard. */
import { toast } from "../core/toast.js";
import { t } from "../core/text.js";

/** Copy a text, and say then that it is `done`. */
export async function copy(text, done) {
  try {
    // Browsers have no clipboard where the page came over plain http from another machine.
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    toast(t("viewer.copy_failed"), { kind: "error" });
  }
}
