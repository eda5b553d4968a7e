/** Grey shapes in place of what is being loaded. */
import { html } from "../core/html.js";

export const Skeleton = ({ width = "100%", height = "1em" }) =>
  html`<span class="skeleton" style=${{ width, height }} aria-hidden="true"></span>`;

export const SkeletonText = ({ lines = 3 }) =>
  html`<div class="skeleton-text" aria-hidden="true">
    ${Array.from({ length: lines }, (_, line) =>
      html`<${Skeleton} key=${line} width=${line === lines - 1 ? "60%" : "100%"} />`)}
  </div>`;
