/** Puts pictures on a board, which may be a new one, or takes them from it. */
import * as api from "../../core/api.js";
import { html, useEffect, useState } from "../../core/html.js";
import { useStore } from "../../core/store.js";
import { go, paths } from "../../core/router.js";
import { failed, toast } from "../../core/toast.js";
import { t } from "../../core/text.js";
import { Button } from "../../parts/button.js";
import { Dialog } from "../../parts/dialog.js";
import { SelectField, TextField } from "../../parts/field.js";
import { boards, loadBoards } from "../boards.js";

const NEW = "";

export function BoardDialog({ count, busy, change, onClose }) {
  const known = useStore(boards);
  const [choice, setChoice] = useState(null);
  const [title, setTitle] = useState("");
  useEffect(() => void loadBoards().catch(failed), []);
  const chosen = choice ?? known[0]?.id ?? NEW;

  const isReady = chosen !== NEW || title.trim() !== "";
  const put = async (event) => {
    event.preventDefault();
    if (!isReady) return;
    try {
      const id = chosen || (await api.post("/v1/boards", { title: title.trim() })).id;
      const isDone = await change("add_to_board", id);
      await loadBoards();
      if (!isDone) return;
      const board = boards.get().find((one) => one.id === id)?.title ?? title.trim();
      const show = () => go(paths.library({ q: `board:${id}` }));
      toast(t("library.on_board", { count, board }), { label: t("library.show_board"), action: show });
    } catch (error) {
      failed(error);
    }
  };
  const options = [...known.map((board) => [board.id, board.title]), [NEW, t("library.new_board")]];
  const actions = html`<${Button} disabled=${chosen === NEW} busy=${busy} onClick=${() => change("remove_from_board", chosen)}>${t("library.take_off")}<//>
    <${Button} kind="primary" disabled=${!isReady} busy=${busy} onClick=${put}>${t("library.put_on")}<//>`;
  return html`<${Dialog} title=${t("library.board_title", { count })} onClose=${onClose} actions=${actions}>
    <form onSubmit=${put}>
      <${SelectField} label=${t("library.board")} value=${chosen} onChange=${setChoice} options=${options} autofocus=${known.length > 0} />
      ${chosen === NEW && html`<${TextField} label=${t("library.board_name")} value=${title} onChange=${setTitle} maxlength="80" autofocus=${known.length === 0} />`}
    </form>
  <//>`;
}
