/** The board that is shown, with what can be done with it. */
import * as api from "../core/api.js";
import { html, useState } from "../core/html.js";
import { may } from "../core/session.js";
import { failed, toast } from "../core/toast.js";
import { t } from "../core/text.js";
import { Button } from "../parts/button.js";
import { Confirm, Dialog } from "../parts/dialog.js";
import { TextField } from "../parts/field.js";
import { Menu } from "../parts/menu.js";
import { loadBoards } from "./boards.js";

export function BoardHeader({ board, onDeleted }) {
  const [open, setOpen] = useState("");
  const [title, setTitle] = useState(board.title);
  const path = `/v1/boards/${board.id}`;
  const run = async (work) => {
    try {
      await work();
      setOpen("");
      await loadBoards();
    } catch (error) {
      failed(error);
    }
  };
  const rename = (event) => {
    event.preventDefault();
    if (title.trim()) void run(() => api.patch(path, { title: title.trim() }));
  };
  const remove = () =>
    run(async () => {
      await api.del(path);
      toast(t("library.board_deleted", { title: board.title }));
      onDeleted();
    });
  const items = [
    { text: t("library.board_rename"), onSelect: () => setOpen("rename") },
    { text: t("library.board_delete"), icon: "trash", isDangerous: true, onSelect: () => setOpen("delete") },
  ];
  const close = () => setOpen("");
  const save = html`<${Button} kind="primary" disabled=${!title.trim()} onClick=${rename}>${t("library.board_save")}<//>`;
  return html`<header class="board-header">
    <h2>${board.title}</h2>
    ${may("create") && html`<${Menu} label=${t("library.board_menu")} items=${items} />`}
    ${open === "rename" && html`<${Dialog} title=${t("library.board_rename")} onClose=${close} actions=${save}>
      <form onSubmit=${rename}>
        <${TextField} label=${t("library.board_name")} value=${title} onChange=${setTitle} maxlength="80" autofocus />
      </form>
    <//>`}
    ${open === "delete" && html`<${Confirm}
      title=${t("library.board_delete_title", { title: board.title })}
      text=${t("library.board_delete_text")}
      label=${t("library.board_delete")}
      onConfirm=${remove}
      onClose=${close}
    />`}
  </header>`;
}
