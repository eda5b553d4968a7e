/** What people wrote of a picture; a comment may point at a place in it. */
import { useBusy } from "../core/busy.js";
import { formatDateTime } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { t } from "../core/text.js";
import { Button, IconButton } from "../parts/button.js";

const MOST_CHARACTERS = 4000;

/**
 * `point` is the place that the next comment points at, and `onPoint(null)` takes it away; without
 * `onPoint`, the picture takes no places. `field` refers to the text field.
 */
export function Comments({ comments, say, resolve, remove, point = null, onPoint, field }) {
  const numbers = numbered(comments);
  return html`<section class="comments" aria-label=${t("asset.comments")}>
    <ul>
      ${comments.map((one) => html`<li key=${one.id} class=${one.resolved ? "is-resolved" : ""}>
        <p class="soft small">
          ${numbers.has(one.id) && html`<span class="point-number">${numbers.get(one.id)}</span> `}
          ${one.author.user ?? one.author.key} · ${formatDateTime(one.created_at)}
        </p>
        <p dir="auto">${one.text}</p>
        <span class="comment-buttons">
          <${IconButton} icon="check" class="small" aria-pressed=${one.resolved}
            label=${t(one.resolved ? "asset.reopen_comment" : "asset.resolve_comment")} onClick=${() => resolve(one)} />
          ${one.mine && html`<${IconButton} icon="trash" class="small" label=${t("asset.remove_comment")} onClick=${() => remove(one)} />`}
        </span>
      </li>`)}
    </ul>
    <${CommentForm} say=${say} point=${point} onPoint=${onPoint} field=${field} />
  </section>`;
}

function CommentForm({ say, point, onPoint, field }) {
  const [text, setText] = useState("");
  const [isBusy, run] = useBusy();
  const send = (event) => {
    event.preventDefault();
    if (!text.trim() || isBusy) return;
    run(async () => {
      if (!(await say(text.trim(), point))) return;
      setText("");
      onPoint?.(null);
    });
  };
  return html`<form onSubmit=${send}>
    <textarea class="input" rows="2" ref=${field} maxlength=${MOST_CHARACTERS} value=${text} aria-label=${t("asset.comment")}
      placeholder=${t(onPoint ? "asset.comment_point_hint" : "asset.comment")}
      onInput=${(event) => setText(event.currentTarget.value)}></textarea>
    <div class="asset-actions">
      ${point && html`<${Button} kind="quiet" icon="close" onClick=${() => onPoint(null)}>${t("asset.no_point")}<//>`}
      ${text.trim() && html`<${Button} busy=${isBusy} onClick=${send}>${t("asset.send_comment")}<//>`}
    </div>
  </form>`;
}

/** Return the numbers of the comments that point at a place, by their ids. */
export function numbered(comments) {
  const pointing = comments.filter(({ x }) => x !== null);
  return new Map(pointing.map(({ id }, index) => [id, index + 1]));
}
