/**
 * Line icons of 24 units; they are decoration, so the control around them has a name of its own.
 */
import { html } from "../core/html.js";

const PATHS = {
  account: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8M4 21a8 8 0 0 1 16 0",
  admin: "M3 12h4l3-7 4 14 3-7h4",
  board: "M4 5h7v14H4zM15 5h5v6h-5zM15 15h5v4h-5z",
  check: "M5 12.5l4.5 4.5L19 7",
  chevron: "M6 9l6 6 6-6",
  close: "M6 6l12 12M18 6L6 18",
  compare: "M12 3v18M5 6h4v12H5M19 6h-4M19 18h-4M19 6v12",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  create: "M12 4l1.8 5.2L19 11l-5.2 1.8L12 18l-1.8-5.2L5 11l5.2-1.8zM19 17v4M17 19h4",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  expand: "M14 4h6v6M10 20H4v-6M20 4l-7 7M4 20l7-7",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  info: "M12 11v6M12 7h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18",
  key: "M14 10a4 4 0 1 0-3.8 4L12 15.5h2V18h2.5v2.5H20V17l-6-6z",
  left: "M14 6l-6 6 6 6",
  library: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  minus: "M5 12h14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  plus: "M12 5v14M5 12h14",
  queue: "M4 6h10M4 12h16M4 18h12",
  redo: "M4 12a8 8 0 0 1 14-5.3L20 9M20 4v5h-5M20 12a8 8 0 0 1-14 5.3L4 15M4 20v-5h5",
  right: "M10 6l6 6-6 6",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M16 16l4.5 4.5",
  send: "M12 19V5M6 11l6-6 6 6",
  settings: "M4 8h9M17 8h3M4 16h3M11 16h9M15 5.5v5M9 13.5v5",
  share: "M12 15V4M8 7.5L12 4l4 3.5M6 12H5v8h14v-8h-1",
  star: "M12 4l2.5 5.2 5.7.8-4.1 4 1 5.7-5.1-2.7L6.9 19.7l1-5.7-4.1-4 5.7-.8z",
  stop: "M7 7h10v10H7z",
  tag: "M4 4h8l8 8-8 8-8-8zM8.5 8.5h.01",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  unlock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.5-1.8",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
};

export function Icon({ name, size = 20 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" aria-hidden="true">
    <path d=${PATHS[name]} />
  </svg>`;
}
