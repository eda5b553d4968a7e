/** The page's beginning: the person at it, then the frame with a view, or the sign-in. */
import { html, render, useEffect, useState } from "./core/html.js";
import { onResume, startLive, stopLive } from "./core/live.js";
import { loadModel, model } from "./core/models.js";
import { route } from "./core/router.js";
import { loadSession, session } from "./core/session.js";
import { useStore } from "./core/store.js";
import { resendWaiting } from "./core/submissions.js";
import { language, loadText, t } from "./core/text.js";
import { Frame } from "./frame/frame.js";
import { followTheme } from "./frame/theme.js";
import { LoadedView, loadView } from "./frame/view.js";
import { Failure } from "./parts/empty.js";

function App() {
  const { state, me } = useStore(session);
  const code = useStore(language);
  useStore(model);
  const [error, setError] = useState(null);
  const [isReady, setReady] = useState(false);

  const next = () => {
    setError(null);
    if (state === "loading") loadSession().catch(setError);
    else if (state === "ready") prepare().then(() => setReady(true), setError);
    else {
      setReady(false);
      stopLive();
    }
  };
  useEffect(next, [state]);

  if (error && state !== "signed_out") {
    return html`<main>
      <h1 class="visually-hidden">${t("frame.name")}</h1>
      <${Failure} error=${error} onRetry=${next} />
    </main>`;
  }
  if (state === "signed_out") return html`<${LoadedView} key=${code} name="signin" />`;
  return isReady && html`<${Frame} key="${code} ${me?.key?.id}" />`;
}

/** Load what every view needs, and follow the jobs. */
async function prepare() {
  await loadModel();
  startLive();
  resendWaiting();
}

// The service may have come back with another model.
onResume(() => void loadModel().catch(() => {}));

async function begin() {
  followTheme();
  document.documentElement.lang = language.get();
  // Where the person cannot be loaded, App tries again and says why, as LoadedView does of a view.
  const loading = Promise.all([loadText("frame"), loadSession().catch(() => {})]);
  loadView(route.get().view).catch(() => {});
  await loading;
  render(html`<${App} />`, document.getElementById("app"));
}

void begin();
