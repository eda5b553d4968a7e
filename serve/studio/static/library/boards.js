/** The person's boards: named collections of pictures. */
import * as api from "../core/api.js";
import { store } from "../core/store.js";

export const boards = store([]);

/** Load the boards, newest first. */
export async function loadBoards() {
  boards.set((await api.get("/v1/boards")).boards);
}
