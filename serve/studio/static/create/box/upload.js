/** Sends a picture of the person's own, to start from it. */
import * as api from "../../core/api.js";
import { t } from "../../core/text.js";
import { failed, toast } from "../../core/toast.js";
import { setSource } from "../draft.js";

const TYPES = ["image/png", "image/jpeg", "image/webp"];

/** Upload a picture and start from it. */
export async function upload(file) {
  if (!TYPES.includes(file.type)) {
    toast(t("create.source.type"), { kind: "error" });
    return;
  }
  const end = toast(t("create.source.sending"));
  const form = new FormData();
  form.append("file", file);
  try {
    const { id } = await api.post("/v1/uploads", form);
    setSource({ id, url: `/v1/uploads/${id}/content`, isUpload: true });
    // What to make of it is said next; the button that chose the picture is gone.
    document.querySelector(".composer textarea")?.focus();
  } catch (error) {
    failed(error, () => upload(file));
  }
  end();
}
