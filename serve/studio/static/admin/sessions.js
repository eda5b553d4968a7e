/** The browsers that have signed in with the caller's key. */
import * as api from "../core/api.js";
import { formatAgo, formatDateTime } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { signOut } from "../core/session.js";
import { t } from "../core/text.js";
import { failed, toast } from "../core/toast.js";
import { Button } from "../parts/button.js";
import { Failure } from "../parts/empty.js";
import { Skeleton } from "../parts/skeleton.js";
import { usePolled } from "./polled.js";

export function Sessions() {
  const { data, error, load } = usePolled("/v1/sessions");
  const [busyId, setBusyId] = useState("");
  const end = async ({ id, is_current: isCurrent }) => {
    setBusyId(id);
    try {
      if (isCurrent) return await signOut();
      await api.del(`/v1/sessions/${id}`);
      await load();
      document.getElementById("admin-sessions")?.focus();
      toast(t("admin.session.ended"));
    } catch (failure) {
      failed(failure);
    } finally {
      setBusyId("");
    }
  };
  return html`<section class="admin-section">
    <h2 id="admin-sessions" tabindex="-1">${t("admin.sessions")}</h2>
    <p class="soft">${t("admin.sessions.text")}</p>
    ${!data && !error && html`<${Skeleton} height="56px" />`}
    ${!data && error && html`<${Failure} error=${error} onRetry=${load} />`}
    ${data && !data.sessions.length && html`<p class="soft">${t("admin.sessions.none")}</p>`}
    <ul class="admin-list">
      ${data?.sessions.map((one) => html`<${Session} key=${one.id} session=${one} busy=${busyId === one.id} onEnd=${() => end(one)} />`)}
    </ul>
  </section>`;
}

function Session({ session, busy, onEnd }) {
  const { created_at: since, used_at: used, expires_at: expires, is_current: isCurrent } = session;
  return html`<li class="admin-item">
    <div class="admin-item-words">
      <p class="admin-strong">
        ${t("admin.session.since", { time: formatDateTime(since) })}
        ${isCurrent && html`<span class="admin-chip good">${t("admin.session.current")}</span>`}
      </p>
      <p class="soft small">${t("admin.session.used", { ago: formatAgo(used), time: formatDateTime(expires) })}</p>
    </div>
    <${Button} class="small" busy=${busy} aria-label=${t("admin.session.end_one", { time: formatDateTime(since) })} onClick=${onEnd}>
      ${isCurrent ? t("frame.sign_out") : t("admin.session.end")}
    <//>
  </li>`;
}
