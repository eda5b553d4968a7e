/**
 * The person at the page: `me` is the answer of `GET /v1/me`, null until the state is `ready`. A
 * session that `hasExpired` was ended by the service.
 */
import * as api from "./api.js";
import { store } from "./store.js";

export const session = store({ state: "loading", me: null, hasExpired: false });

api.onUnauthorized(() => {
  // Several requests may be refused, one after the other.
  const hasExpired = session.get().hasExpired || session.get().state === "ready";
  session.set({ state: "signed_out", me: null, hasExpired });
});

/** Hands on the id of the key that signs in, or null after a sign-out: all tabs share a session. */
const tabs = new BroadcastChannel("cascade-session");
tabs.onmessage = ({ data }) => {
  const { me } = session.get();
  if (me && me.key?.id !== data) {
    forgetDraft();
    location.reload();
  } else if (!me && data) loadSession().catch(() => {});
};

const forgetDraft = () => sessionStorage.removeItem("cascade.draft");

/**
 * Ask for the person at the page. A 401 leaves the store `signed_out`; any other error is thrown.
 */
export async function loadSession() {
  try {
    const me = await api.get("/v1/me");
    session.set({ state: "ready", me, hasExpired: false });
  } catch (error) {
    if (error.status !== 401) throw error;
  }
}

/** Sign in with an API key; throws ApiError if the key is refused. */
export async function signIn(key) {
  await api.post("/v1/sessions", { key });
  await loadSession();
  tabs.postMessage(session.get().me?.key?.id ?? null);
}

/** End this browser's session. The page begins anew, so that nothing of this person stays in it. */
export async function signOut() {
  await api.del("/v1/sessions/current");
  tabs.postMessage(null);
  forgetDraft();
  session.set({ state: "signed_out", me: null, hasExpired: false });
  location.assign("/studio");
}

/** Return whether the service has no keys: it answers its own machine only. */
export const isKeyless = () => session.get().me?.key === null;

/** Return whether the person may do what needs a scope (`read`, `create`, `trusted`, `admin`). */
export function may(scope) {
  const { me } = session.get();
  return me !== null && (!me.key || [scope, "admin"].some((one) => me.key.scopes.includes(one)));
}
