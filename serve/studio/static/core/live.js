/**
 * The caller's jobs as they go on: one `GET /v1/events` for all tabs of a browser.
 *
 * The tab that holds a Web Lock keeps the connection and hands every event to the others by a
 * BroadcastChannel. A tab that has been hidden for some time gives the lock up. Where the page came
 * over plain http from another machine, browsers have no such locks: each visible tab connects.
 */
import * as api from "./api.js";
import { follow } from "./event_source.js";
import { applied, hasEnded } from "./job_events.js";
import { store } from "./store.js";

/** `live`, `reconnecting` or `offline`. */
export const connection = store("reconnecting");

/** Jobs that have not ended, by id: queued, running, or waiting for a choice. */
export const openJobs = store(new Map());

const HIDDEN_MS = navigator.locks ? 5 * 60 * 1000 : 1000;
const KEPT_ENDED = 200;

const handlers = new Set();
const resumeHandlers = new Set();
/** Jobs that ended lately: an older answer must not open them again. */
const endedJobs = new Map();
/** Events of jobs that are being asked for. */
const unknown = new Map();
/** Jobs that were named since the stream was opened. */
let named = new Set();
let channel = null;
let isLeader = false;
let leave = () => {};

/**
 * Call a function for each event of a job, in this tab and others, until the returned one is
 * called.
 */
export function onJob(handler) {
  handlers.add(handler);
  return () => handlers.delete(handler);
}

/**
 * Call a function each time the events are complete again after a gap, until the returned one is
 * called: lists that show jobs which have ended are read again then.
 */
export function onResume(handler) {
  resumeHandlers.add(handler);
  return () => resumeHandlers.delete(handler);
}

/**
 * Take a job from an answer of the API, such as that of a new job. Returns the newest state that is
 * known of it.
 */
export function track(job) {
  const known = openJobs.get().get(job.id) ?? endedJobs.get(job.id);
  if (known && (hasEnded(known) || !hasEnded(job))) return known;
  answered(job);
  return job;
}

/** Take a job's newer state from an answer of the API, such as that of a cancelled job. */
export function refresh(job) {
  receive("job", { job_id: job.id, job });
}

/** Begin to follow the jobs; the frame does it after sign-in. */
export function startLive() {
  if (channel) return;
  channel = new BroadcastChannel("cascade-events");
  channel.addEventListener("message", ({ data }) => heard(data));
  channel.postMessage({ kind: "hello" });
  document.addEventListener("visibilitychange", visibilityChanged);
  if (document.visibilityState === "visible") join();
}

/** Stop following the jobs, and forget them. */
export function stopLive() {
  document.removeEventListener("visibilitychange", visibilityChanged);
  clearTimeout(hiddenTimer);
  leave();
  channel?.close();
  channel = null;
  openJobs.set(new Map());
  endedJobs.clear();
  unknown.clear(); // an answer that is still on its way is not of the next person
  connection.set("reconnecting");
}

/** Connect again at once, not after the pause between two tries. */
export function reconnect() {
  if (!isLeader) return void channel?.postMessage({ kind: "reconnect" });
  leave();
  join();
}

let hiddenTimer = 0;
function visibilityChanged() {
  clearTimeout(hiddenTimer);
  if (document.visibilityState === "visible") join();
  else hiddenTimer = setTimeout(() => leave(), HIDDEN_MS);
}

let isJoined = false;
function join() {
  if (isJoined) return;
  isJoined = true;
  const wish = new AbortController();
  let release = () => {};
  leave = () => {
    isJoined = false;
    wish.abort();
    release();
  };
  const lead = () =>
    new Promise((resolve) => {
      isLeader = true;
      const end = follow({ onEvent: led, onLoss: changed });
      release = () => {
        isLeader = false;
        end();
        resolve(undefined);
      };
    });
  if (!navigator.locks) void lead();
  else navigator.locks.request("cascade-events", { signal: wish.signal }, lead).catch(() => {});
}

function led(type, data) {
  channel?.postMessage({ kind: "event", type, data });
  receive(type, data);
}

function changed(state) {
  channel?.postMessage({ kind: "connection", state });
  lost(state);
}

function lost(state) {
  // Each try of a service that does not answer begins with the loss of the connection.
  if (state === "offline" || connection.get() === "live") connection.set(state);
}

/** Take a message of another tab. */
function heard({ kind, type, data, state, jobs }) {
  if (kind === "event") receive(type, data);
  else if (kind === "connection") lost(state);
  else if (kind === "reconnect" && isLeader) reconnect();
  else if (kind === "hello" && isLeader) {
    const all = [...openJobs.get().values()];
    channel?.postMessage({ kind: "snapshot", jobs: all, state: connection.get() });
  } else if (kind === "snapshot") {
    for (const job of jobs) track(job);
    connection.set(state);
  }
}

function receive(type, data) {
  if (type === "open") {
    named = new Set();
    return;
  }
  if (type === "live") return becameLive();
  const id = data.job_id;
  named.add(id);
  const later = unknown.get(id);
  const known = openJobs.get().get(id) ?? endedJobs.get(id);
  if (later) later.push([type, data]);
  else if (known || data.job) emit(type, data, applied(known ?? data.job, type, data));
  else void ask(id, [[type, data]]);
}

/** Ask for a job; its events wait for the answer. */
async function ask(id, events = []) {
  unknown.set(id, events);
  try {
    const job = await api.get(`/v1/jobs/${id}`);
    if (unknown.has(id)) answered(job);
  } catch (error) {
    unknown.delete(id);
    if (error.status === 404) forget(id);
  }
}

/** Take a job that the API has answered with, and the events that came meanwhile. */
function answered(job) {
  const events = unknown.get(job.id) ?? [];
  unknown.delete(job.id);
  receive("job", { job_id: job.id, job });
  for (const [type, data] of events) receive(type, data);
}

function emit(type, data, job) {
  keep(job);
  for (const handler of [...handlers]) handler({ type, jobId: job.id, job, data });
}

function keep(job) {
  openJobs.update((jobs) => {
    const next = new Map(jobs);
    if (hasEnded(job)) next.delete(job.id);
    else next.set(job.id, job);
    return next;
  });
  if (!hasEnded(job)) return;
  endedJobs.delete(job.id);
  endedJobs.set(job.id, job);
  if (endedJobs.size > KEPT_ENDED) endedJobs.delete(endedJobs.keys().next().value);
}

function forget(id) {
  openJobs.update((jobs) => new Map([...jobs].filter(([one]) => one !== id)));
}

/** The stream has shown every open job: those that it did not name have ended meanwhile. */
function becameLive() {
  const missing = [...openJobs.get().keys()].filter((id) => !named.has(id));
  named = new Set();
  connection.set("live");
  for (const id of missing) void ask(id);
  for (const handler of [...resumeHandlers]) handler();
}
