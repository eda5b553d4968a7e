/**
 * Requests to the HTTP API. Every function answers with the parsed JSON or throws ApiError. Their
 * options: `query`, `signal`, `asFile` for an answer that is a Blob, and the `idempotencyKey` of a
 * request that makes or continues a job.
 */

/** An answer that is an error, or none at all. */
export class ApiError extends Error {
  /**
   * `code` is of the API's table of errors, or `offline`; `message` is a sentence in English,
   * `param` the field at fault, and `retryAfterS` when the same request may be sent again.
   */
  constructor({ code, message, status = 0, param = null, retryAfterS = null, requestId = null }) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.param = param;
    this.retryAfterS = retryAfterS;
    this.requestId = requestId;
  }
}

const unauthorizedListeners = new Set();

/** Call a function after each answer 401, but that of a sign-in. */
export function onUnauthorized(listener) {
  unauthorizedListeners.add(listener);
}

export const get = (path, options) => send("GET", path, undefined, options);
/** The body is JSON, or a form. */
export const post = (path, body, options) => send("POST", path, body, options);
export const patch = (path, body) => send("PATCH", path, body);
export const del = (path) => send("DELETE", path);

/** Return a path with its query; null, undefined and "" are left out. */
export function withQuery(path, query = {}) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") found.append(name, String(value));
  }
  const text = found.toString();
  return text ? `${path}?${text}` : path;
}

/** Return a new key for a request that must count once, however often it is sent. */
export function newIdempotencyKey() {
  // crypto.randomUUID is missing where the page comes over plain http from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `studio-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

async function send(method, path, body, { query, signal, idempotencyKey, asFile = false } = {}) {
  const isForm = body instanceof FormData;
  const headers = { accept: "application/json" };
  if (body !== undefined && !isForm) headers["content-type"] = "application/json";
  if (idempotencyKey) headers["idempotency-key"] = idempotencyKey;
  const content = body === undefined || isForm ? body : JSON.stringify(body);
  const init = { method, headers, body: content, signal, credentials: "same-origin" };
  let response;
  try {
    response = await fetch(withQuery(path, query), init);
    if (asFile && response.ok) return await response.blob();
    const answer = await parsed(response);
    if (response.ok) return answer;
    throw errorOf(response, answer);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new ApiError({ code: "offline", message: "The service does not answer." });
  } finally {
    if (response?.status === 401 && path !== "/v1/sessions") {
      for (const listener of unauthorizedListeners) listener();
    }
  }
}

/** Return the JSON of an answer; null for an empty one, or one that is no JSON. */
async function parsed(response) {
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

function errorOf(response, answer) {
  const detail = answer?.error ?? {};
  const retryAfter = Number(response.headers.get("retry-after"));
  return new ApiError({
    code: detail.code ?? "internal",
    message: detail.message ?? `The service answered ${response.status}.`,
    status: response.status,
    param: detail.field ?? detail.param ?? null,
    retryAfterS: retryAfter > 0 ? retryAfter : null,
    requestId: detail.request_id ?? response.headers.get("x-request-id"),
  });
}
