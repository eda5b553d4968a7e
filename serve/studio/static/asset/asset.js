/** A picture as an asset: its state, what the person may do with it, and what was written of it. */
import * as api from "../core/api.js";
import { useEffect, useState } from "../core/html.js";
import { failed } from "../core/toast.js";

/** Lead an asset to its next state and return it; refused if it was changed since it was read. */
export function transition(asset, action, note = "") {
  const body = { action, note, expected_version: asset.version };
  return api.post(`/v1/assets/${asset.id}/transitions`, body);
}

/** Return a picture's asset, null until it is read, and its comments, with what changes them. */
export function useAsset(id) {
  const [known, setKnown] = useState({ id: "", asset: null, comments: [] });
  const load = async () => {
    const path = `/v1/assets/${id}`;
    const [asset, { comments }] = await Promise.all([api.get(path), api.get(`${path}/comments`)]);
    return { id, asset, comments };
  };
  useEffect(() => {
    let isWanted = true;
    const take = (found) => isWanted && setKnown(found);
    load().then(take, () => {}); // a picture that is gone is told where it is shown
    return () => {
      isWanted = false;
    };
  }, [id]);
  /** Do something, tell why it failed, and read the asset again. */
  const change = async (work) => {
    try {
      await work();
      return true;
    } catch (error) {
      failed(error);
      return false;
    } finally {
      await load().then(setKnown, () => {});
    }
  };
  const isThis = known.id === id;
  const path = `/v1/assets/${id}/comments`;
  return {
    asset: isThis ? known.asset : null,
    comments: isThis ? known.comments : [],
    act: (action, note) => change(() => transition(known.asset, action, note)),
    say: (text, point) => change(() => api.post(path, { text, ...point })),
    resolve: (comment) => change(() => api.patch(`${path}/${comment.id}`, { resolved: !comment.resolved })),
    remove: (comment) => change(() => api.del(`${path}/${comment.id}`)),
  };
}
