/**
 * What a picture was made from and what was made from it, as a small tree. The siblings are what
 * was made from the parent, with the picture itself.
 */
import * as api from "../core/api.js";
import { html, useEffect, useState } from "../core/html.js";
import { onJob, openJobs } from "../core/live.js";
import { Link } from "../core/router.js";
import { useStore } from "../core/store.js";
import { t } from "../core/text.js";
import { kindTitle } from "../create/offers.js";
import { Icon } from "../parts/icon.js";
import { thumbUrl } from "../parts/picture.js";
import { pictureHref } from "../library/query.js";

const SHOWN = 12;

/** Return the family of a picture; null while it loads, or if it cannot be loaded. */
export function useFamily(id) {
  const [state, setState] = useState({ id: "", family: null });
  const [count, setCount] = useState(0);
  useEffect(() => {
    const request = new AbortController();
    load(id, request.signal).then((family) => setState({ id, family }), () => {});
    return () => request.abort();
  }, [id, count]);
  useEffect(() => onJob(({ type }) => type === "succeeded" && setCount((now) => now + 1)), []);
  return state.id === id ? state.family : null;
}

async function load(id, signal) {
  const lineage = (of) => api.get(`/v1/images/${of}/lineage`, { query: { limit: SHOWN }, signal });
  const { parents, children } = await lineage(id);
  const parent = parents[0] ?? null;
  const siblings = parent?.image_id ? (await lineage(parent.image_id)).children : [];
  return { parent, siblings, children };
}

/**
 * Return the relative to compare a picture with: what it was made from, or the newest other one.
 */
export function comparableOf(family, id) {
  if (!family) return undefined;
  const { parent, siblings, children } = family;
  const near = parent?.is_deleted ? [] : [parent?.image_id];
  const others = [...siblings, ...children].map((relative) => relative.image_id);
  return [...near, ...others].find((one) => one && one !== id);
}

export function FamilyTree({ id, latentId, family, q }) {
  const open = [...useStore(openJobs).values()].filter((job) => latentId && job.request.latent_id === latentId);
  if (!family) return null;
  const { parent, siblings, children } = family;
  if (!parent && !children.length && !open.length) return null;
  const isListed = siblings.some((one) => one.image_id === id);
  const row = isListed ? siblings : [{ image_id: id, operation: parent?.operation }, ...siblings];
  return html`<section>
    <h2>${t("viewer.family")}</h2>
    <ul class="tree">
      ${parent && html`<li><${Member} relative=${parent} id=${id} q=${q} isParent /></li>`}
      <li>${row.map((one) => html`<${Member} key=${one.image_id} relative=${one} id=${id} q=${q} />`)}</li>
      ${(children.length > 0 || open.length > 0) &&
      html`<li>
        ${open.map((job) => html`<${Making} key=${job.id} job=${job} />`)}
        ${children.map((one) => html`<${Member} key=${one.image_id} relative=${one} id=${id} q=${q} />`)}
      </li>`}
    </ul>
  </section>`;
}

function Member({ relative, id, q, isParent = false }) {
  const { image_id: own, operation: kind, is_deleted: isDeleted } = relative;
  const made = kind ? kindTitle(kind) : "";
  if (!own || isDeleted) {
    return html`<span class="member is-gone" title=${t("viewer.deleted_picture")}>
      <${Icon} name="trash" size=${16} /><span class="visually-hidden">${t("viewer.deleted_picture")}</span>
    </span>`;
  }
  const name = own === id ? t("viewer.this_picture") : isParent ? t("viewer.made_from") : made;
  return html`<${Link}
    class="member"
    replace
    href=${pictureHref(own, q)}
    aria-current=${own === id ? "true" : undefined}
    title=${name}
  ><img src=${thumbUrl(own)} alt=${name} /><//>`;
}

function Making({ job }) {
  const { step = 0, steps = 0 } = job.progress ?? {};
  const percent = steps ? Math.round((100 * step) / steps) : 0;
  return html`<span class="member is-making" role="img" aria-label=${t("viewer.making")} title=${t("viewer.making")}>
    ${percent ? `${percent} %` : "…"}
  </span>`;
}
