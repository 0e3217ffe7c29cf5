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

  document.addEventListener("DOMContentLoaded", function () {
    tellZone();
    nameThings(document);
    new MutationObserver(function () { nameThings(document); }).observe(document.body, { childList: true, subtree: true });
    document.addEventListener("click", copy);
  });
})();
