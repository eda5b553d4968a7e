/** The pictures before and after one, in the order of the library's search. */
import { useEffect } from "../core/html.js";
import { useRender } from "../core/store.js";
import { usePictures } from "../library/use_pictures.js";
import { imageUrl } from "../parts/picture.js";

/** `madeAt` is the time at which its job ended, as soon as it is known. */
export function useNeighbours(id, q, madeAt) {
  const { pictures, refresh } = usePictures(q);
  const render = useRender();
  const index = pictures.indexOf(id);
  useEffect(() => {
    if (!pictures.isCounted || !madeAt || index >= 0) return;
    void pictures.find(id, madeAt.slice(0, 10)).then(render, () => {});
  }, [pictures, pictures.version.get(), id, madeAt]);
  useEffect(() => {
    if (index < 0) return;
    Object.assign(pictures.place, { index, id });
    const ready = () => [index + 1, index - 1].forEach((place) => preload(pictures.at(place)));
    pictures.load(Math.max(0, index - 1), index + 2).then(ready, () => {});
  }, [pictures, id, index]);
  return {
    pictures,
    refresh,
    index,
    own: pictures.at(index),
    previous: index > 0 ? pictures.at(index - 1) : undefined,
    next: index >= 0 ? pictures.at(index + 1) : undefined,
  };
}

function preload(picture) {
  if (picture) new Image().src = imageUrl(picture.id);
}
