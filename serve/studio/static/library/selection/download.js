/** Downloads pictures in a ZIP file, with what is known of them. */
import { withQuery } from "../../core/api.js";
import { save } from "../../core/save.js";
import { toast } from "../../core/toast.js";
import { t } from "../../core/text.js";
import { countOf, idsOf } from "./selection.js";

/** As many the service takes by their ids, and by a search. */
const MOST_BY_ID = 250;
const MOST_FOUND = 1000;

export async function download(selection, { q, total }) {
  const count = countOf(selection, total);
  const areAll = count === total;
  if (count > (areAll ? MOST_FOUND : MOST_BY_ID)) {
    toast(t("library.too_many", { most: MOST_BY_ID, found: MOST_FOUND }), { kind: "error" });
    return;
  }
  const ids = areAll ? "" : (await idsOf(selection, q)).join(",");
  save(withQuery("/v1/library/zip", areAll ? { q } : { ids }));
}
