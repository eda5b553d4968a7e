/** Downloads pictures in the forms that channels take, with what is known of them. */
import * as api from "../core/api.js";
import { useBusy } from "../core/busy.js";
import { html, useEffect, useState } from "../core/html.js";
import { save } from "../core/save.js";
import { keptStore, useStore } from "../core/store.js";
import { t } from "../core/text.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Failure } from "../parts/empty.js";
import { Switch } from "../parts/field.js";

const FILE_KEPT_MS = 60_000;

/** What was exported last is what is probably wanted again. */
const choice = keptStore("export", { presets: [], originals: true });

/** `ids` returns the ids of the pictures, or a promise of them. */
export function ExportDialog({ count, ids, onClose }) {
  const [presets, setPresets] = useState(null);
  const [error, setError] = useState(null);
  const [isBusy, run] = useBusy();
  const chosen = useStore(choice);
  const load = () => {
    setError(null);
    api.get("/v1/exports/presets").then((found) => setPresets(found.presets), setError);
  };
  useEffect(load, []);
  const known = (presets ?? []).map(({ name }) => name);
  const wanted = chosen.presets.filter((name) => known.includes(name));
  const toggle = (name) => {
    const others = wanted.filter((one) => one !== name);
    choice.set({ ...chosen, presets: others.length < wanted.length ? others : [...wanted, name] });
  };
  const download = () =>
    run(async () => {
      const body = { ids: await ids(), presets: wanted, originals: chosen.originals };
      const url = URL.createObjectURL(await api.post("/v1/exports", body, { asFile: true }));
      save(url, "export.zip");
      setTimeout(() => URL.revokeObjectURL(url), FILE_KEPT_MS);
      onClose();
    });
  const isNothing = !wanted.length && !chosen.originals;
  const actions = html`<${Button} onClick=${onClose}>${t("frame.cancel")}<//>
    <${Button} kind="primary" icon="download" busy=${isBusy} disabled=${isNothing} onClick=${download}>${t("asset.export_do")}<//>`;
  return html`<${Dialog} title=${t("asset.export_title", { count })} onClose=${onClose} actions=${actions}>
    <${Switch} label=${t("asset.export_originals")} checked=${chosen.originals}
      onChange=${(originals) => choice.set({ ...chosen, originals })} />
    ${error && html`<${Failure} error=${error} onRetry=${load} />`}
    <fieldset class="export-presets" aria-busy=${!presets && !error}>
      <legend>${t("asset.export_presets")}</legend>
      ${(presets ?? []).map((one) => html`<label key=${one.name}>
        <input type="checkbox" checked=${wanted.includes(one.name)} onChange=${() => toggle(one.name)} />
        <span>${one.name} <small class="soft">${one.width} × ${one.height} ${one.format}</small></span>
      </label>`)}
    </fieldset>
    <p class="soft small">${t("asset.export_text")}</p>
  <//>`;
}
