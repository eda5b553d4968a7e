/** The compositions of a job that waits: choose which are finished, or composed anew. */
import * as api from "../../core/api.js";
import { useBusy } from "../../core/busy.js";
import { html, useState } from "../../core/html.js";
import { refresh } from "../../core/live.js";
import { may } from "../../core/session.js";
import { t } from "../../core/text.js";
import { Button } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { useAskedSheet } from "./asked_sheet.js";
import { promptOf } from "./picture_cell.js";

export default function DraftSheet({ job }) {
  const [chosen, setChosen] = useState([]);
  const [isBusy, run] = useBusy();
  const toggle = (index) =>
    setChosen((now) => (now.includes(index) ? now.filter((one) => one !== index) : [...now, index].sort((a, b) => a - b)));
  const goOn = (action) => {
    // The same choice again is the same request, so that a lost answer changes nothing.
    const idempotencyKey = `studio-${action}-${job.id}-${job.redone?.length ?? 0}-${chosen.join("-")}`;
    const send = async () => {
      refresh(await api.post(`/v1/jobs/${job.id}/${action}`, { indices: chosen }, { idempotencyKey }));
      setChosen([]);
    };
    void run(send, { isRepeatable: true });
  };
  const hasNone = chosen.length === 0;
  const sheet = useAskedSheet(job.id);

  return html`<fieldset ref=${sheet} class="sheet" disabled=${!may("create")}>
    <legend class="small soft">${t("create.drafts.choose")}</legend>
    <ul class="cells" data-columns=${Math.min(job.request.n, 4)}>
      ${job.compositions.map((one) => html`<li key=${one.index}>
        <${Composition} composition=${one} prompt=${promptOf(job, one.index)}
          isChosen=${chosen.includes(one.index)} onToggle=${() => toggle(one.index)} />
      </li>`)}
    </ul>
    <div class="job-buttons">
      <${Button} kind="primary" class="small" disabled=${hasNone} busy=${isBusy} onClick=${() => goOn("continue")}>
        ${hasNone ? t("create.drafts.finish_chosen") : t("create.drafts.finish", { count: chosen.length })}
      <//>
      <${Button} class="small" icon="redo" disabled=${hasNone} busy=${isBusy} onClick=${() => goOn("redo")}>
        ${t("create.drafts.redo")}
      <//>
    </div>
  </fieldset>`;
}

function Composition({ composition: { index, width, height, preview_url: preview }, prompt, isChosen, onToggle }) {
  const label = t("create.drafts.one", { number: index + 1, prompt });
  return html`<label class="cell composition">
    <input type="checkbox" checked=${isChosen} onChange=${onToggle} aria-label=${label} />
    <span class="composition-picture" style=${{ aspectRatio: `${width} / ${height}` }}>
      ${preview && html`<img src=${preview} alt="" width=${width} height=${height} />`}
      <span class="composition-tick"><${Icon} name="check" size=${18} /></span>
    </span>
  </label>`;
}
