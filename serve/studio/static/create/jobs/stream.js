/** Jobs, newest first: on their way, being made, finished. */
import { useBusy } from "../../core/busy.js";
import { html, useEffect, useMemo, useState } from "../../core/html.js";
import { useStore } from "../../core/store.js";
import { discard, ownSubmissions, send, submissions } from "../../core/submissions.js";
import { t } from "../../core/text.js";
import { errorSentence, failed } from "../../core/toast.js";
import { Button } from "../../parts/button.js";
import { Failure } from "../../parts/empty.js";
import { Lazy } from "../../parts/lazy.js";
import { Skeleton } from "../../parts/skeleton.js";
import { followHistory, history, loadEarlier, loadNewest, newestFirst } from "./history.js";
import { kindTitle } from "../offers.js";
import { usePlaces } from "../places.js";

/** The component of a job, once it is loaded. */
let JobCard = null;
let place = 0;

/** `onUse` is called when something was put into the box. */
export function Stream({ onUse }) {
  const all = useStore(history);
  useStore(submissions);
  useEffect(followHistory, []);
  const pending = ownSubmissions().reverse();
  const jobs = newestFirst(all);
  const isEmpty = pending.length === 0 && jobs.length === 0;
  const places = usePlaces(jobs, true);
  const Job = useJobCard(!isEmpty);
  usePlace();

  if (isEmpty && all.error) return html`<${Failure} error=${all.error} onRetry=${loadNewest} />`;
  if (isEmpty && all.isLoaded) return html`<${Lazy} load=${() => import("./welcome.js")} onUse=${onUse} />`;
  if (isEmpty || !Job) return html`<${Waiting} />`;
  return html`<ol class="stream">
    ${pending.map((one) => html`<li key=${one.key}><${Pending} submission=${one} /></li>`)}
    ${jobs.map((job) => html`<li key=${job.client_state.submission ?? job.id}><${Card} as=${Job} job=${job} place=${places.get(job.id)} onUse=${onUse} /></li>`)}
    ${all.cursor && html`<li class="earlier"><${Earlier} /></li>`}
  </ol>`;
}

/** A job, which is drawn again only if it has changed. */
const Card = ({ as: Job, job, place, onUse }) =>
  useMemo(() => html`<${Job} job=${{ ...job, ...place }} onUse=${onUse} />`, [job, place]);

/** Return the component of a job once it is loaded, from the first job on. */
function useJobCard(isNeeded) {
  const [, setLoaded] = useState(false);
  useEffect(() => {
    if (!isNeeded || JobCard) return;
    import("./job_card.js").then((module) => {
      JobCard = module.default;
      setLoaded(true);
    }, failed);
  }, [isNeeded]);
  return JobCard;
}

/** Keep the place in the list while another view is shown. */
function usePlace() {
  useEffect(() => {
    scrollTo(0, place);
    const keep = () => {
      place = scrollY;
    };
    addEventListener("scroll", keep, { passive: true });
    return () => removeEventListener("scroll", keep);
  }, []);
}

/** A job that the service has not accepted yet. */
function Pending({ submission }) {
  const { body, state, error } = submission;
  const isRefused = state === "refused";
  return html`<article class="job" aria-label=${body.prompt ?? body.template ?? kindTitle(body.kind)}>
    <div class="job-text">
      <p class="job-prompt">${body.prompt ?? body.template ?? kindTitle(body.kind)}</p>
      <p class=${isRefused ? "job-error" : "soft small"} role=${isRefused ? "alert" : undefined}>
        ${isRefused ? errorSentence(error) : t(`create.submission.${state}`)}
      </p>
      <div class="job-buttons">
        ${state !== "sending" && html`<${Button} class="small" icon="redo" onClick=${() => send(submission)}>${t("frame.retry")}<//>
          <${Button} class="small" kind="quiet" onClick=${() => discard(submission)}>${t("create.discard")}<//>`}
      </div>
    </div>
  </article>`;
}

function Earlier() {
  const [isBusy, run] = useBusy();
  return html`<${Button} busy=${isBusy} onClick=${() => run(loadEarlier)}>${t("create.earlier")}<//>`;
}

const Waiting = () => html`<div class="stream" aria-busy="true">
  <span class="visually-hidden">${t("frame.loading")}</span>
  ${[0, 1].map((one) => html`<div class="job" key=${one}>
    <div class="job-pictures"><${Skeleton} height="220px" /></div>
    <div class="job-text"><${Skeleton} width="80%" /><${Skeleton} width="50%" /></div>
  </div>`)}
</div>`;
