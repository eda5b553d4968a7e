/** Create: the prompt box, and above it what is being made and what was made lately. */
import { html, useEffect } from "../core/html.js";
import { go, paths } from "../core/router.js";
import { may } from "../core/session.js";
import { useShortcuts } from "../core/shortcuts.js";
import { t } from "../core/text.js";
import { failed } from "../core/toast.js";
import { Composer } from "./box/composer.js";
import { Stream } from "./jobs/stream.js";

/** The query has fields of a job, see `prefill`. */
export default function Create({ query }) {
  useEffect(() => {
    if (Object.keys(query).length === 0) return;
    // Going back later must not fill the box again.
    import("./refill.js")
      .then(({ prefill }) => prefill(query))
      .then(() => go(paths.create(), { replace: true }), failed);
  }, [query]);
  useShortcuts({ "/": focusPrompt }, "create");

  return html`<div class="view create">
    <h1 class="visually-hidden">${t("frame.create")}</h1>
    ${may("create") && html`<${Composer} />`}
    <${Stream} onUse=${focusPrompt} />
  </div>`;
}

/** Put the caret at the end of the prompt. */
function focusPrompt() {
  const prompt = document.querySelector(".composer textarea");
  if (!(prompt instanceof HTMLTextAreaElement)) return;
  prompt.focus();
  prompt.setSelectionRange(prompt.value.length, prompt.value.length);
}
