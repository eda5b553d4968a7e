/** What runs and waits, and what ended lately: the caller's jobs, for admins also all others. */
import * as api from "../core/api.js";
import { html, useEffect, useState } from "../core/html.js";
import { isMoving } from "../core/job_events.js";
import { connection, openJobs } from "../core/live.js";
import { goWith, paths } from "../core/router.js";
import { isKeyless, may } from "../core/session.js";
import { useStore } from "../core/store.js";
import { t } from "../core/text.js";
import { failed } from "../core/toast.js";
import { usePlaces } from "../create/places.js";
import { Button, ButtonLink } from "../parts/button.js";
import { Chips } from "../parts/chips.js";
import { Confirm } from "../parts/dialog.js";
import { Empty, Failure } from "../parts/empty.js";
import { Skeleton } from "../parts/skeleton.js";
import { useCancelling } from "./cancelling.js";
import { inOrder, isMine, useEnded, useSampled } from "./lists.js";
import { EndedRow, OpenRow, isChosenInCreate } from "./rows.js";

const MOST_ROWS = 100;

/** With `all` in the query: the jobs of all keys. */
export default function Queue({ query }) {
  const isAdmin = may("admin") && !isKeyless();
  const own = !(isAdmin && query.all);
  const seen = [...useSampled(openJobs).values()].filter((job) => !own || isMine(job));
  const moving = seen.filter(isMoving);
  const places = usePlaces(moving, own);
  const rows = inOrder(moving.map((job) => ({ ...job, ...places.get(job.id) })));
  const drafts = seen.filter((job) => job.state === "waiting").sort(newestFirst);
  const { ended, error, load } = useEnded(own);
  const isLive = useStore(connection) === "live";
  const isLoading = !ended || (!isLive && !seen.length);
  const cancelling = useCancelling([...rows, ...drafts]);
  const shared = { ownerOf: useOwners(!own), cancelling };
  const head = { isAdmin, own, cancelling, counts: isLoading ? [] : counts(moving, drafts) };

  if (error && !ended) return html`<${Page} ...${head}><${Failure} error=${error} onRetry=${load} /><//>`;
  if (!isLoading && !seen.length && !ended?.length) return html`<${Page} ...${head}><${Nothing} /><//>`;
  return html`<${Page} ...${head}>
    <${Section} title=${t("queue.now")}>
      ${isLoading && !rows.length ? html`<${Waiting} />` : html`<${OpenRows} jobs=${rows} ...${shared} />`}
    <//>
    ${drafts.length > 0 && html`<${Section} title=${t(own ? "queue.drafts" : "queue.drafts.all")}><${OpenRows} jobs=${drafts} ...${shared} /><//>`}
    ${Boolean(ended?.length) && html`<${Section} title=${t("queue.ended")}>
      <ul class="queue-list">
        ${ended?.map((job) => html`<${EndedRow} key=${job.id} job=${job} owner=${shared.ownerOf(job)} />`)}
      </ul>
    <//>`}
    <${SelectionBar} cancelling=${cancelling} />
    <${Question} cancelling=${cancelling} />
  <//>`;
}

const newestFirst = (a, b) => (a.id < b.id ? 1 : -1);

function counts(moving, drafts) {
  const running = moving.filter((job) => job.state === "running").length;
  return [
    ["queue.count.running", running],
    ["queue.count.queued", moving.length - running],
    ["queue.count.drafts", drafts.length],
  ];
}

function Page({ isAdmin, own, cancelling, counts: all, children }) {
  const shown = all.filter(([, count]) => count).map(([key, count]) => t(key, { count }));
  const { mine, ask } = cancelling;
  return html`<div class="view queue">
    <header class="queue-head">
      <div class="queue-title">
        <h1>${t("queue.title")}</h1>
        <p class="soft">${shown.join(" · ")}</p>
      </div>
      ${isAdmin && html`<${Chips} label=${t("queue.whose")} isLabelHidden value=${own ? "own" : "all"}
        options=${[["own", t("queue.own")], ["all", t("queue.all")]]}
        onChange=${(value) => goWith({ all: value === "all" ? "1" : null })} />`}
      ${mine.length > 1 && may("create") && html`<${Button} onClick=${() => ask(mine)}>${t("queue.cancel_mine")}<//>`}
    </header>
    ${children}
  </div>`;
}

function Nothing() {
  return html`<${Empty} icon="queue" title=${t("queue.empty")} text=${t("queue.empty.text")}>
    ${may("create") && html`<${ButtonLink} kind="primary" icon="create" href=${paths.create()}>${t("queue.empty.action")}<//>`}
  <//>`;
}

function Section({ title, children }) {
  return html`<section class="queue-section"><h2>${title}</h2>${children}</section>`;
}

function OpenRows({ jobs, ownerOf, cancelling }) {
  if (!jobs.length) return html`<p class="queue-none soft">${t("queue.none")}</p>`;
  const { selected, select, ask } = cancelling;
  const hidden = jobs.length - MOST_ROWS;
  return html`<ul class="queue-list">
    ${jobs.slice(0, MOST_ROWS).map((job) => html`<${OpenRow} key=${job.id} job=${job}
      owner=${ownerOf(job)} mayChoose=${isChosenInCreate(job) && may("create")}
      isSelected=${selected.has(job.id)} onCancel=${() => ask([job.id])}
      onSelect=${may("create") ? (isSelected) => select(job.id, isSelected) : null} />`)}
    ${hidden > 0 && html`<li class="queue-none soft">${t("queue.more", { count: hidden })}</li>`}
  </ul>`;
}

function Waiting() {
  return html`<div class="queue-list" aria-busy="true">
    ${[0, 1, 2].map((row) => html`<div class="queue-row" key=${row}>
      <${Skeleton} width="72px" height="72px" />
      <div class="queue-words"><${Skeleton} width="70%" /><${Skeleton} width="40%" /></div>
    </div>`)}
  </div>`;
}

function SelectionBar({ cancelling: { selected, clear, ask } }) {
  const count = selected.size;
  if (!count) return null;
  return html`<div class="queue-bar" role="region" aria-label=${t("queue.selection")}>
    <p>${t("queue.selected", { count })}</p>
    <${Button} kind="quiet" onClick=${clear}>${t("queue.clear")}<//>
    <${Button} kind="danger" onClick=${() => ask([...selected])}>${t("queue.cancel", { count })}<//>
  </div>`;
}

function Question({ cancelling: { asked, isBusy, confirm, giveUp } }) {
  const count = asked.length;
  if (!count) return null;
  return html`<${Confirm} title=${t("queue.confirm", { count })} text=${t("queue.confirm.text")}
    label=${t("queue.cancel", { count })} busy=${isBusy} onConfirm=${confirm} onClose=${giveUp} />`;
}

/** Return what names the key of a job; nothing unless the names are wanted and known. */
function useOwners(isWanted) {
  const [names, setNames] = useState(null);
  useEffect(() => {
    setNames(null);
    if (!isWanted) return;
    const keep = ({ keys }) => setNames(new Map(keys.map(({ id, name }) => [id, name])));
    api.get("/v1/keys").then(keep, failed);
  }, [isWanted]);
  return (job) => names && (names.get(job.key_id) ?? t("queue.no_key"));
}
