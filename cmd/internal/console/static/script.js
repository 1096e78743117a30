// Everything works without this script. It replaces the parts of a live page that change, and selects all rows of a
// table.
(() => {
  "use strict";

  const focusable = "a, button, input, select, textarea, summary, [tabindex]";

  // replace replaces a part of the page, and keeps the focus on the same control.
  const replace = (old, part) => {
    const at = [...old.querySelectorAll(focusable)].indexOf(document.activeElement);
    const scrolled = [...old.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    old.replaceWith(part);
    part.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
    if (at >= 0) part.querySelectorAll(focusable)[at]?.focus({ preventScroll: true });
  };

  const live = document.querySelector("[data-live]");
  const toggle = document.getElementById("live-toggle");
  const state = document.getElementById("live-state");

  // A part that is replaced between press and release would lose the click: the update waits.
  let pressed = false, waiting = null;
  const release = () => setTimeout(() => {
    pressed = false;
    if (waiting !== null) update(waiting);
  });
  addEventListener("pointerdown", () => { pressed = true; });
  addEventListener("pointerup", release);
  addEventListener("pointercancel", release);

  const update = (html) => {
    if (pressed) {
      waiting = html;
      return;
    }
    waiting = null;
    const next = new DOMParser().parseFromString(html, "text/html");
    const parts = [...next.querySelectorAll("[data-part]")].map((e) => document.importNode(e, true));
    const known = [...live.querySelectorAll("[data-part]")];
    if (parts.length !== known.length) {
      live.replaceChildren(...parts);
      return;
    }
    parts.forEach((part, i) => { if (!part.isEqualNode(known[i])) replace(known[i], part); });
  };

  if (live && toggle) {
    let source = null, paused = false, ended = false;
    const close = () => { source?.close(); source = null; };
    const open = () => {
      if (source || paused || ended || document.hidden) return;
      source = new EventSource(location.href.split("#")[0]);
      source.onopen = () => { state.textContent = ""; };
      source.onmessage = (e) => { state.textContent = ""; update(e.data); };
      source.onerror = () => { state.textContent = "Not connected; trying again."; };
      source.addEventListener("failed", (e) => { state.textContent = e.data; });
      source.addEventListener("end", () => { ended = true; close(); toggle.hidden = true; });
    };
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      paused = !paused;
      toggle.textContent = paused ? "Resume updates" : "Pause updates";
      state.textContent = paused ? "Updates are paused." : "";
      if (paused) close(); else open();
    });
    // A browser has few connections for one host: a page that is not visible uses none.
    document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open(); });
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", open);
    open();
  }

  const all = document.getElementById("select-all");
  if (all) {
    all.hidden = false;
    all.addEventListener("click", () => {
      const boxes = [...all.form.querySelectorAll("input[type=checkbox]")];
      const select = !boxes.every((b) => b.checked);
      boxes.forEach((b) => { b.checked = select; });
      all.textContent = select ? "Select none" : "Select this page";
    });
  }
})();
