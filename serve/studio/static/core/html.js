/** The library of components; every module of the page imports it from here. */
export { html, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact.js";
