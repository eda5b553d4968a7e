/** Sign in with an API key; the view that was open before is shown again after it. */
import { html, useEffect, useRef, useState } from "../core/html.js";
import { loadSession, session, signIn } from "../core/session.js";
import { setTitle } from "../core/router.js";
import { useStore } from "../core/store.js";
import { t, textOr } from "../core/text.js";
import { errorSentence } from "../core/toast.js";
import { Button } from "../parts/button.js";
import { Field } from "../parts/field.js";
import { Icon } from "../parts/icon.js";

export default function SignIn() {
  const { hasExpired } = useStore(session);
  const input = useRef(null);
  const [isSending, setSending] = useState(false);
  const [error, setError] = useState(null);
  const waitS = useCountdown(error?.retryAfterS ?? 0);
  useEffect(() => {
    setTitle(t("signin.title"));
    input.current?.focus();
  }, []);

  const send = async (event) => {
    event.preventDefault();
    const key = input.current.value.trim();
    if (isSending) return;
    if (!key) return setError({ code: "empty" });
    setSending(true);
    setError(null);
    try {
      await signIn(key);
    } catch (problem) {
      await refused(problem);
    }
    setSending(false);
  };
  const refused = async (problem) => {
    // The service has no keys by now: its own machine needs none.
    if (problem.status === 409) return loadSession().catch(setError);
    setError(problem);
    input.current?.select();
    input.current?.focus();
  };

  return html`<main class="signin">
    <form onSubmit=${send} novalidate>
      <span class="signin-mark"><${Icon} name="create" size=${32} /></span>
      <h1>${t("signin.heading")}</h1>
      ${hasExpired && !error && html`<p class="notice" role="status">${t("signin.expired")}</p>`}
      <${Field} label=${t("signin.key")} hint=${t("signin.hint")} error=${error && sentence(error, waitS)}>
        ${(attributes) => html`<input ref=${input} class="input" type="password" name="key" required
          autocomplete="current-password" spellcheck=${false} ...${attributes} />`}
      <//>
      <p class="visually-hidden" role="alert">${error ? sentence(error, waitS ? error.retryAfterS : 0) : ""}</p>
      <${Button} type="submit" kind="primary" busy=${isSending}>${t("signin.send")}<//>
    </form>
  </main>`;
}

function sentence(error, waitS) {
  if (error.code === "rate_limited") {
    return waitS > 0 ? t("signin.error.rate_limited", { seconds: waitS }) : t("signin.error.again");
  }
  return textOr(`signin.error.${error.code}`, errorSentence(error));
}

/** Return how many of the seconds are left; they begin anew when their number changes. */
function useCountdown(seconds) {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    setLeft(seconds);
    if (!seconds) return undefined;
    const timer = setInterval(() => setLeft((now) => Math.max(0, now - 1)), 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return left;
}
