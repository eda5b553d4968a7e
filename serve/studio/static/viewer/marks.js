/** The star, rating and tags of a picture. */
import * as api from "../core/api.js";
import { html, useRef, useState } from "../core/html.js";
import { Link, paths } from "../core/router.js";
import { may } from "../core/session.js";
import { useShortcuts } from "../core/shortcuts.js";
import { failed } from "../core/toast.js";
import { t } from "../core/text.js";
import { IconButton } from "../parts/button.js";

const RATINGS = [1, 2, 3, 4, 5];

export function Marks({ picture, pictures }) {
  const queue = useRef(Promise.resolve());
  const stored = useRef(null);
  const change = (changes) => {
    if (!may("create")) return;
    const { star, rating, tags } = picture;
    stored.current ??= { star, rating, tags };
    // Shown at once, so that the next change begins from this one, and sent in the same order.
    pictures.change(picture.id, changes);
    const sent = queue.current.then(async () => {
      try {
        stored.current = await api.patch(`/v1/images/${picture.id}`, changes);
      } catch (error) {
        failed(error);
      }
      if (queue.current !== sent) return;
      pictures.change(picture.id, stored.current);
      stored.current = null;
    });
    queue.current = sent;
  };
  const rate = (rating) => change({ rating });
  const star = () => change({ star: !picture.star });
  const keys = Object.fromEntries([0, ...RATINGS].map((rating) => [String(rating), () => rate(rating)]));
  useShortcuts({ s: star, ...keys }, "viewer");
  return html`<section class="marks" aria-label=${t("viewer.marks")}>
    <div class="marks-row">
      <${IconButton}
        icon="star"
        class=${picture.star ? "is-starred" : ""}
        label=${t("viewer.star")}
        aria-pressed=${picture.star}
        onClick=${star}
      />
      <span class="rating" role="group" aria-label=${t("viewer.rating")}>
        ${RATINGS.map(
          (rating) => html`<button
            type="button"
            key=${rating}
            class=${rating <= picture.rating ? "is-filled" : ""}
            aria-label=${t("viewer.rate", { count: rating })}
            aria-pressed=${rating === picture.rating}
            onClick=${() => rate(rating === picture.rating ? 0 : rating)}
          >★</button>`,
        )}
      </span>
    </div>
    <${Tags} tags=${picture.tags} onChange=${(tags) => change({ tags })} />
  </section>`;
}

function Tags({ tags, onChange }) {
  const [text, setText] = useState("");
  const add = (event) => {
    event.preventDefault();
    const tag = text.trim();
    if (tag && !tags.includes(tag)) onChange([...tags, tag]);
    setText("");
  };
  const isEditable = may("create");
  return html`<ul class="tags" aria-label=${t("viewer.tags")}>
    ${tags.map(
      (tag) => html`<li class="tag" key=${tag}>
        <${Link} href=${paths.library({ q: `tag:${tag}` })}>${tag}<//>
        ${isEditable &&
        html`<${IconButton}
          icon="close"
          class="small"
          label=${t("viewer.untag", { tag })}
          onClick=${() => onChange(tags.filter((one) => one !== tag))}
        />`}
      </li>`,
    )}
    ${isEditable &&
    html`<li>
      <form onSubmit=${add}>
        <input
          class="tag-input"
          aria-label=${t("viewer.tag_add")}
          placeholder=${t("viewer.tag_add")}
          maxlength="64"
          value=${text}
          onInput=${(event) => setText(event.currentTarget.value)}
        />
      </form>
    </li>`}
  </ul>`;
}
