/** What can be done with the selected pictures, or with the active one if none is selected. */
import * as api from "../../core/api.js";
import { html, useRef, useState } from "../../core/html.js";
import { go, paths } from "../../core/router.js";
import { may } from "../../core/session.js";
import { failed, toast } from "../../core/toast.js";
import { t } from "../../core/text.js";
import { ExportDialog } from "../../asset/export_dialog.js";
import { Confirm } from "../../parts/dialog.js";
import { BoardDialog } from "./board_dialog.js";
import { changeAll } from "./bulk.js";
import { download } from "./download.js";
import { countOf, idsOf, isSelected, NOTHING } from "./selection.js";
import { TagDialog } from "./tag_dialog.js";

const AT_ONCE = 500;

export function useActions({ pictures, selected, place, refresh }) {
  const [open, setOpen] = useState("");
  const [isBusy, setBusy] = useState(false);
  const queue = useRef(Promise.resolve());
  const current = pictures.at(place.active);
  const isAny = countOf(selected.selection, pictures.total) > 0;
  const targets = isAny ? selected.selection : { isInverted: false, ids: new Set(current ? [current.id] : []) };
  const count = countOf(targets, pictures.total);

  const run = (work) => {
    if (!count) return undefined;
    setBusy(true);
    // One after the other: no key that is pressed meanwhile is lost.
    const done = queue.current.then(work).catch(failed);
    queue.current = done;
    return done.then((isDone) => {
      if (queue.current === done) setBusy(false);
      return isDone;
    });
  };
  const apply = async (action, value) => {
    const refused = await changeAll(targets, pictures.q, action, value);
    if (refused.length) toast(t("library.refused", { count: refused.length }), { kind: "error" });
    return refused.length;
  };
  const change = (action, value) => {
    if (!may("create")) return undefined;
    return run(async () => {
      await apply(action, value);
      await pictures.refresh({ isStale: true });
      return true;
    });
  };
  const remove = () =>
    run(async () => {
      const kept = await apply("delete");
      setOpen(""); // before the focus goes to a picture
      selected.set(NOTHING);
      await refresh();
      place.focus(Math.max(0, Math.min(place.active, pictures.total - 1)));
      if (count > kept) toast(t("library.deleted", { count: count - kept }));
    });
  const submit = () =>
    run(async () => {
      const ids = await idsOf(targets, pictures.q);
      let count = 0;
      for (let start = 0; start < ids.length; start += AT_ONCE) {
        const body = { ids: ids.slice(start, start + AT_ONCE), action: "submit" };
        const { results } = await api.post("/v1/assets/transitions", body);
        count += results.filter(({ asset }) => asset).length;
      }
      if (count < ids.length) toast(t("asset.not_submitted", { count: ids.length - count }), { kind: "error" });
      if (count) toast(t("asset.all_submitted", { count }));
      await pictures.refresh({ isStale: true });
    });
  const ask = (dialog) => may("create") && count > 0 && setOpen(dialog);
  const close = () => setOpen("");
  const changeAndClose = (action, value) =>
    change(action, value)?.then((isDone) => {
      close();
      return isDone;
    });
  const dialogs = { count, busy: isBusy, change: changeAndClose, onClose: close };
  return {
    isBusy,
    star: () => change(areStarred(pictures, targets) ? "unstar" : "star"),
    rate: (rating) => change("rate", rating),
    submit,
    tag: () => ask("tag"),
    putOnBoard: () => ask("board"),
    askToDelete: () => ask("delete"),
    download: () => run(() => download(targets, pictures)),
    compare: () =>
      run(async () => {
        const [a, b] = await idsOf(targets, pictures.q);
        if (b) go(paths.compare(a, b));
      }),
    export: () => count > 0 && setOpen("export"),
    dialog: html`${open === "export" && html`<${ExportDialog} count=${count} ids=${() => idsOf(targets, pictures.q)} onClose=${close} />`}
      ${open === "delete" && html`<${Confirm} title=${t("library.delete_title", { count })}
        text=${t("library.delete_text")} label=${t("library.delete")} busy=${isBusy} onConfirm=${remove} onClose=${close} />`}
      ${open === "tag" && html`<${TagDialog} ...${dialogs} />`}
      ${open === "board" && html`<${BoardDialog} ...${dialogs} />`}`,
  };
}

/** Return whether all of the pictures that are loaded have a star. */
function areStarred(pictures, targets) {
  const loaded = pictures.sections.flatMap(({ items }) => items);
  return loaded.filter(({ id }) => isSelected(targets, id)).every(({ star }) => star);
}
