/* What every page of the admin gets: names for screen readers, and times in the reader's zone. */
(function () {
  "use strict";

  // The server writes times in the zone that this cookie names; see config.viewer_zone.
  function tellZone() {
    const meta = document.querySelector('meta[name="time-zone"]');
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!meta || !zone || meta.content === zone || sessionStorage.getItem("told-zone") === zone) return;
    sessionStorage.setItem("told-zone", zone);
    document.cookie = "zone=" + encodeURIComponent(zone) + "; path=/; max-age=31536000; samesite=lax";
    location.reload();
  }

  function own(element) {
    return Array.from(element.childNodes, function (node) { return node.nodeType === 3 ? node.data : ""; }).join("");
  }

  // An icon is a word of its font: "mail". Nobody shall hear it read out.
  function nameThings(root) {
    root.querySelectorAll(".material-symbols-outlined").forEach(function (icon) {
      icon.setAttribute("aria-hidden", "true");
      const control = icon.closest("a, button, [role=button]");
      if (!control || control.getAttribute("aria-label")) return;
      const words = Array.from(control.querySelectorAll(":not(.material-symbols-outlined)"), own).concat(own(control)).join("").trim();
      if (words) return;
      const word = icon.textContent.trim().replace(/_/g, " ");
      control.setAttribute("aria-label", control.title || (control.getAttribute("href") === "/admin/" ? "Dashboard" : word));
    });
    root.querySelectorAll("#nav-sidebar-apps .simplebar-content-wrapper").forEach(function (scrolled) {
      scrolled.setAttribute("aria-label", "Menu");
    });
    root.querySelectorAll(".select2-selection[role=combobox], .select2-selection__rendered[role], .select2-search__field").forEach(function (box) {
      const around = box.closest(".select2");
      const select = around && around.previousElementSibling;
      const label = select && select.id && document.querySelector('label[for="' + select.id + '"]');
      box.setAttribute("aria-label", label ? label.textContent.trim() : (select && select.name) || "Choice");
      box.removeAttribute("aria-labelledby");
    });
    root.querySelectorAll("div.cursor-pointer").forEach(function (opener) {
      const acts = opener.hasAttribute("x-on:click") && !opener.hasAttribute("tabindex");
      if (!acts) return;
      opener.setAttribute("role", "button");
      opener.setAttribute("tabindex", "0");
      opener.addEventListener("keydown", function (event) {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); opener.click(); }
      });
    });
  }

  // A button that copies the text of the element it names.
  function copy(event) {
    const button = event.target.closest("[data-copies]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copies).textContent;
    navigator.clipboard.writeText(text).then(function () { button.textContent = button.dataset.done; });
  }

  // The first page's numbers by server-sent events. htmx polls while there is no place for a
  // stream, and nothing is replaced under a keyboard's focus.
  let streams = false;
  function live() { return document.querySelector("[data-stream]"); }
  function isFocused(part) { return part.contains(document.activeElement); }
  function stream() {
    if (!live() || document.hidden) return;
    const source = new EventSource(live().dataset.stream);
    source.onmessage = function (event) {
      streams = true;
      const part = live();
      if (!part || isFocused(part)) return;
      part.outerHTML = event.data;
      window.htmx.process(live());
    };
    source.onerror = function () {
      if (source.readyState !== EventSource.CLOSED) return; // it connects anew by itself
      streams = false;
      setTimeout(stream, 60000);
    };
    document.addEventListener("visibilitychange", function () {
      source.close();
      streams = false;
      stream();
    }, { once: true });
  }
  function pollInstead(event) {
    const part = event.target.closest("[data-stream]");
    if (part && (streams || isFocused(part))) event.preventDefault();
  }

  document.addEventListener("DOMContentLoaded", function () {
    stream();
    document.body.addEventListener("htmx:beforeRequest", pollInstead);
    tellZone();
    nameThings(document);
    new MutationObserver(function () { nameThings(document); }).observe(document.body, { childList: true, subtree: true });
    document.addEventListener("click", copy);
  });
})();
