/** Pictures of the person's own that come to the page: dropped, pasted or chosen. */
import { useEffect, useState } from "../../core/html.js";
import { model } from "../../core/models.js";
import { failed } from "../../core/toast.js";
import { pictureOperation } from "../offers.js";

/** Return whether a person may bring pictures of their own. */
export const takesUploads = () => Boolean(model.get().takes_uploads && pictureOperation());

/** Upload a picture and start from it. */
export function send(file) {
  if (file) import("./upload.js").then(({ upload }) => upload(file), failed);
}

/** Return whether files are dragged: text that is dropped belongs to the field under it. */
const hasFiles = (event) => takesUploads() && event.dataTransfer?.types.includes("Files");

const fileOf = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

/** Take pictures that are dropped on the page or pasted. Returns whether one is held over it. */
export function useDroppedPictures() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const listeners = {
      dragover: (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(true);
      },
      dragleave: (event) => event.relatedTarget === null && setOver(false),
      drop: (event) => {
        if (!hasFiles(event)) return;
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
