/** Takes things out of the page: text to the clipboard, files to the disk. */
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

/** Download a file. */
export function save(url) {
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  link.click();
}
