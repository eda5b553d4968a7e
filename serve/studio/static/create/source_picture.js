// @ts-check
/** The picture to start from: chosen, dropped or pasted, or taken from the library. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { model } from "../core/models.js";
import { Link, paths } from "../core/router.js";
import { t } from "../core/text.js";
import { failed } from "../core/toast.js";
import { IconButton } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { setSource } from "./draft.js";
import { pictureOperation } from "./offers.js";

/** Return whether a person may bring pictures of their own. */
const takesUploads = () => Boolean(model.get()?.takes_uploads && pictureOperation());

/**
 * @param {{source: import("./draft.js").Source | null, field: string}} props field: of the job
 */
export function SourcePicture({ source, field }) {
  const input = useRef(null);
  if (source) {
    return html`<span class="source">
      <img src=${source.url} alt=${t("create.source")} />
      <${IconButton} icon="close" class="small" label=${t("create.source.remove")} onClick=${() => setSource(null)} />
    </span>`;
  }
  if (!takesUploads() || field !== "image") {
    return html`<${Link} class="source empty-source" href=${paths.library()} aria-label=${t("create.source.library")}
      title=${t("create.source.library")}><${Icon} name="library" /><//>`;
  }
  const chosen = (event) => {
    send(event.target.files[0]);
    event.target.value = "";
  };
  return html`<button type="button" class="source empty-source" name="image" onClick=${() => input.current.click()}
      aria-label=${t("create.source.choose")} title=${t("create.source.choose")}>
      <${Icon} name="image" />
    </button>
    <input ref=${input} type="file" accept="image/*" hidden tabindex="-1" aria-label=${t("create.source.choose")} onChange=${chosen} />`;
}

function send(file) {
  if (file) import("./upload.js").then(({ upload }) => upload(file), failed);
}

const fileOf = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

/** Take pictures that are dropped on the page or pasted. @returns {boolean} one is held over it */
export function useDroppedPictures() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const listeners = {
      dragover: (event) => {
        if (!takesUploads() || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        setOver(true);
      },
      dragleave: (event) => event.relatedTarget === null && setOver(false),
      drop: (event) => {
        if (!takesUploads()) return;
        event.preventDefault();
        setOver(false);
        send(fileOf(event.dataTransfer));
      },
      paste: (event) => takesUploads() && send(fileOf(event.clipboardData)),
    };
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener);
    };
  }, []);
  return isOver;
}
