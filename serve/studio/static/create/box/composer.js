/** The box at the bottom: what to make, with the controls that the model has. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../../core/html.js";
import { field, model } from "../../core/models.js";
import { useStore } from "../../core/store.js";
import { submit } from "../../core/submissions.js";
import { t, textOr } from "../../core/text.js";
import { IconButton } from "../../parts/button.js";
import { Icon } from "../../parts/icon.js";
import { Lazy } from "../../parts/lazy.js";
import { bodyOf, draft, kindOf, setValue, sourceField } from "../draft.js";
import { useDroppedPictures } from "./dropped.js";
import { QuickControls } from "./quick_controls.js";
import { variablesOf } from "../variants.js";

const EXAMPLE = { variable: "{color}" };

export function Composer() {
  const now = useStore(draft);
  const [isOpen, setOpen] = useState(false);
  const [problem, setProblem] = useState("");
  const isWide = useWide();
  const form = useRef(null);
  const isDropping = useDroppedPictures();
  const kind = kindOf(now);
  useLayoutEffect(() => setProblem(""), [now]);

  const send = (event) => {
    event?.preventDefault();
    const { body, missing } = bodyOf(now);
    if (missing) return complain(missing);
    if (body.template && variablesOf(body.template).length === 0) return complain("template", "variable");
    setOpen(false);
    scrollTo({ top: 0 });
    void submit(body);
  };
  const complain = (name, what = name) => {
    setProblem(textOr(`create.missing.${what}`, t("create.missing", { field: name }), EXAMPLE));
    form.current.querySelector(`[name=${name}]`)?.focus();
  };
  const keyDown = (event) => {
    if (event.key === "Escape") {
      if (isOpen) form.current.querySelector("[aria-expanded]").focus();
      else event.target.blur();
      setOpen(false);
    }
    const isText = event.target instanceof HTMLTextAreaElement;
    if (!isText || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (event.target.name === "variants" && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    if (!event.repeat) send();
  };

  return html`<form ref=${form} class="composer" onSubmit=${send} onKeyDown=${keyDown} aria-label=${t("create.composer")}>
    <div class="composer-box">
    ${isOpen && html`<div class="composer-panel" id="create-settings">
      ${!isWide && html`<${QuickControls} kind=${kind} draft=${now} />`}
      <${Lazy} load=${() => import("./settings.js")} kind=${kind} values=${now.values} />
    </div>`}
    <div class="composer-main">
      ${sourceField(now) && html`<${Lazy} load=${() => import("./source_picture.js")} source=${now.source} field=${sourceField(now)} />`}
      <${Words} kind=${kind} values=${now.values} />
      <${IconButton} icon="send" kind="primary" type="submit" label=${t("create.send")} />
    </div>
    <p class="composer-problem" role="alert">${problem}</p>
    <div class="composer-row">
      ${isWide && html`<${QuickControls} kind=${kind} draft=${now} />`}
      <button type="button" class="button quiet small" aria-expanded=${isOpen} aria-controls="create-settings"
        onClick=${() => setOpen(!isOpen)}>
        <${Icon} name="settings" size=${18} />${t("create.settings")}
      </button>
      <${ModelNote} />
    </div>
    ${isDropping && html`<p class="drop-here">${t("create.drop_here")}</p>`}
    </div>
  </form>`;
}

/** The prompt; for a series its template and variants. */
function Words({ kind, values }) {
  const isSeries = field(kind, "template");
  if (!isSeries && !field(kind, "prompt")) return html`<span class="words"></span>`;
  const names = variablesOf(values.template);
  const one = t(values.template && !names.length ? "create.missing.variable" : "create.variants.one", EXAMPLE);
  const hint = names.length > 1 ? t("create.variants.of", { names: names.join(" / ") }) : one;
  return html`<div class="words">
    ${isSeries
      ? html`<${TextArea} name="template" value=${values.template} label=${t("create.template")}
            placeholder=${t("create.template.example", EXAMPLE)} />
          <${TextArea} name="variants" value=${values.variants} label=${t("create.variants")} placeholder=${hint} rows=${3} />`
      : html`<${TextArea} name="prompt" autofocus value=${values.prompt} label=${t("create.prompt")}
          placeholder=${t("create.prompt.example")} maxlength=${field(kind, "prompt").limits.maxLength} />`}
  </div>`;
}

/** A text field that grows with its text or placeholder. */
function TextArea({ name, label, value = "", rows = 1, ...rest }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    element.current.style.height = "auto";
    element.current.style.height = `${element.current.scrollHeight}px`;
  }, [value, name]);
  return html`<textarea ref=${element} name=${name} rows=${rows} aria-label=${label} value=${value} enterkeyhint="send"
    onInput=${(event) => setValue(name, event.target.value)} ...${rest}></textarea>`;
}

function ModelNote() {
  const { id, licence } = model.get();
  const isForResearch = /non-commercial/i.test(licence);
  return html`<p class="model-note" title=${licence}>
    ${id}${isForResearch && html` · <strong>${t("create.non_commercial")}</strong>`}
  </p>`;
}

/** Return whether there is room for all controls beside each other. */
function useWide() {
  const [query] = useState(() => matchMedia("(min-width: 900px)"));
  const [isWide, setWide] = useState(query.matches);
  useEffect(() => {
    const changed = () => setWide(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, [query]);
  return isWide;
}
