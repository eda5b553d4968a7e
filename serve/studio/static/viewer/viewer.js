/** One picture: large, with how it was made, what belongs to it, and what can be done with it. */
import * as api from "../core/api.js";
import { useBusy } from "../core/busy.js";
import { html, useEffect, useState } from "../core/html.js";
import { go, Link, paths, setTitle } from "../core/router.js";
import { may } from "../core/session.js";
import { useShortcuts } from "../core/shortcuts.js";
import { toast } from "../core/toast.js";
import { t } from "../core/text.js";
import { pictureHref } from "../library/query.js";
import { AssetPanel } from "../asset/asset_panel.js";
import { ExportDialog } from "../asset/export_dialog.js";
import { Confirm } from "../parts/dialog.js";
import { Failure } from "../parts/empty.js";
import { SkeletonText } from "../parts/skeleton.js";
import { Actions } from "./actions.js";
import { Cost, Parameters, Prompt } from "./details.js";
import { comparableOf, FamilyTree, useFamily } from "./family.js";
import { Marks } from "./marks.js";
import { useNeighbours } from "./neighbours.js";
import { usePictureJob } from "./picture_job.js";
import { ShareDialog } from "./share_dialog.js";
import { Stage } from "./stage.js";

export default function Viewer({ params: { id }, query }) {
  const q = query.q ?? "";
  const [dialog, setDialog] = useState("");
  const [madeAt, setMadeAt] = useState("");
  const around = useNeighbours(id, q, madeAt);
  const { found, error, retry } = usePictureJob(id, around.own?.job_id);
  const family = useFamily(id);
  const comparable = comparableOf(family, id);
  const prompt = around.own?.prompt ?? found?.job.request.prompt ?? "";
  useEffect(() => setMadeAt(found?.job.finished_at ?? found?.job.created_at ?? ""), [found]);
  useEffect(() => setTitle(prompt || t("frame.viewer")), [prompt]);
  useEffect(() => setDialog(""), [id]);

  const show = (picture) => picture && go(pictureHref(picture.id, q), { replace: true });
  const back = () => go(paths.library({ q }));
  const previous = () => show(around.previous);
  const next = () => show(around.next);
  const compare = () => comparable && go(paths.compare(comparable, id));
  const askToDelete = () => may("create") && found && setDialog("delete");
  useShortcuts({ ArrowLeft: previous, ArrowRight: next, Escape: back, v: compare, d: askToDelete, Delete: askToDelete }, "viewer");

  const goOn = async () => {
    setDialog("");
    const other = around.next ?? around.previous;
    await around.refresh();
    if (other) show(other);
    else back();
  };
  if (error) return html`<div class="view"><h1>${t("viewer.title")}</h1><${Failure} error=${error} onRetry=${retry} /></div>`;
  return html`<article class="viewer">
    <h1 class="visually-hidden" tabindex="-1">${prompt || t("viewer.title")}</h1>
    <${Stage} key=${id} id=${id} alt=${prompt || t("viewer.no_prompt")} onBack=${back}
      onPrevious=${around.previous && previous} onNext=${around.next && next} />
    <section class="panel" aria-label=${t("viewer.panel")}>
      ${found
        ? html`<${Panel} ...${{ found, prompt, around, family, comparable, q, id }} onDialog=${setDialog} />`
        : html`<${SkeletonText} lines=${6} />`}
    </section>
    ${dialog === "share" && html`<${ShareDialog} id=${id} onClose=${() => setDialog("")} />`}
    ${dialog === "export" && html`<${ExportDialog} count=${1} ids=${() => [id]} onClose=${() => setDialog("")} />`}
    ${dialog === "delete" && html`<${DeleteDialog} id=${id} onClose=${() => setDialog("")} onDeleted=${goOn} />`}
  </article>`;
}

function Panel({ found, prompt, around, family, comparable, q, id, onDialog }) {
  const { job, image } = found;
  return html`<${Prompt} text=${prompt} negative=${job.request.negative_prompt} />
    ${around.own && html`<${Marks} key=${id} picture=${around.own} pictures=${around.pictures} />`}
    <${AssetPanel} key="asset ${id}" id=${id} />
    <${Actions}
      job=${job}
      image=${image}
      prompt=${prompt}
      comparable=${comparable}
      onShare=${() => onDialog("share")}
      onExport=${() => onDialog("export")}
      onDelete=${() => onDialog("delete")}
    />
    <${FamilyTree} id=${id} latentId=${image.latent_id} family=${family} q=${q} />
    <${Parameters} job=${job} image=${image} />
    <${Cost} job=${job} />
    ${q && html`<p class="soft small"><${Link} href=${paths.library({ q })}>${t("viewer.of_search", { q })}<//></p>`}`;
}

function DeleteDialog({ id, onClose, onDeleted }) {
  const [isBusy, run] = useBusy();
  const remove = async () => {
    await api.del(`/v1/images/${id}`);
    toast(t("viewer.deleted"));
    onDeleted();
  };
  return html`<${Confirm}
    title=${t("viewer.delete_title")}
    text=${t("viewer.delete_text")}
    label=${t("viewer.delete")}
    busy=${isBusy}
    onConfirm=${() => run(remove)}
    onClose=${onClose}
  />`;
}
