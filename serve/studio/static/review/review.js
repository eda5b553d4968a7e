/** The pictures that wait for a decision: one large, the others in line, and what decides it. */
import { useBusy } from "../core/busy.js";
import { html, useEffect, useRef, useState } from "../core/html.js";
import { paths } from "../core/router.js";
import { useShortcuts } from "../core/shortcuts.js";
import { t } from "../core/text.js";
import { toast } from "../core/toast.js";
import { transition } from "../asset/asset.js";
import { NoteDialog } from "../asset/note_dialog.js";
import { ButtonLink } from "../parts/button.js";
import { Empty, Failure } from "../parts/empty.js";
import { Skeleton } from "../parts/skeleton.js";
import { thumbUrl } from "../parts/picture.js";
import { ReviewPanel } from "./review_panel.js";
import { useWaiting } from "./waiting.js";

const UNDO_MS = 10_000;

export default function Review() {
  const { assets, count, error, load, without } = useWaiting();
  const [chosen, setChosen] = useState("");
  const [isRejecting, setRejecting] = useState(false);
  const [isBusy, run] = useBusy();
  const last = useRef(null);
  const place = Math.max(0, (assets ?? []).findIndex(({ id }) => id === chosen));
  const asset = assets?.[place];
  const step = (by) => () => {
    const next = assets?.[place + by];
    if (next) setChosen(next.id);
  };
  const forget = () => {
    last.current?.dismiss();
    last.current = null;
  };
  useEffect(() => forget, []);

  const undo = () => {
    const decided = last.current?.asset;
    if (!decided) return;
    forget();
    run(async () => {
      await transition(decided, "reopen");
      await load();
      setChosen(decided.id);
      toast(t("asset.undone"));
    });
  };
  const decide = (action, note) =>
    asset &&
    run(async () => {
      try {
        const decided = await transition(asset, action, note);
        setRejecting(false);
        forget();
        const dismiss = toast(t(`asset.decided.${action}`), { label: t("asset.undo"), action: undo });
        last.current = { asset: decided, dismiss };
        setTimeout(() => last.current?.asset === decided && forget(), UNDO_MS);
        const next = assets[place + 1] ?? assets[place - 1];
        setChosen(next?.id ?? "");
        without(asset.id);
      } finally {
        void load();
      }
    });
  const checked = useRef([]);
  const approve = () => !isBusy && asset?.actions.includes("approve") && decide("approve", checked.current.join(", "));
  const reject = () => asset?.actions.includes("reject") && setRejecting(true);
  const field = useRef(null);
  useShortcuts({ a: approve, r: reject, c: () => field.current?.focus(), u: undo, ArrowRight: step(1), ArrowLeft: step(-1) }, "asset");

  const title = html`<h1>${t("frame.review")} ${count > 0 && html`<span class="soft">${count}</span>`}</h1>`;
  if (error && !assets) return html`<div class="view">${title}<${Failure} error=${error} onRetry=${load} /></div>`;
  if (!assets) return html`<div class="view" aria-busy="true">${title}<${Skeleton} width="40%" height="2em" /></div>`;
  if (!asset) {
    return html`<div class="view">${title}<${Empty} icon="check" title=${t("asset.none")} text=${t("asset.none_text")}>
      <${ButtonLink} href=${paths.library({ q: "state:approved" })}>${t("asset.show_approved")}<//>
    <//></div>`;
  }
  return html`<div class="review">
    <header class="review-head">${title}</header>
    <${Line} assets=${assets} current=${asset.id} onChoose=${setChosen} />
    <${ReviewPanel} key=${asset.id} ...${{ asset, isBusy, checked, field }} onApprove=${approve} onReject=${reject} />
    ${isRejecting && html`<${NoteDialog} busy=${isBusy} onDone=${(note) => decide("reject", note)} onClose=${() => setRejecting(false)} />`}
  </div>`;
}

/** The pictures in line, oldest first. */
function Line({ assets, current, onChoose }) {
  const list = useRef(null);
  useEffect(() => list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [current]);
  return html`<ul class="review-line" ref=${list} aria-label=${t("asset.line")}>
    ${assets.map((one) => html`<li key=${one.id}>
      <button type="button" aria-current=${one.id === current ? "true" : undefined} onClick=${() => onChoose(one.id)}>
        <img src=${thumbUrl(one.id)} alt=${one.prompt || t("asset.no_prompt")} loading="lazy" decoding="async" draggable=${false} />
      </button>
    </li>`)}
  </ul>`;
}
