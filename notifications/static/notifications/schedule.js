// The schedule's form: what the chosen template needs, and its sample as a start.
"use strict";

window.addEventListener("load", () => {
  const template = document.getElementById("id_template");
  const context = document.getElementById("id_context");
  if (!template || !context) return;
  const hint = document.createElement("p");
  hint.className = "ntf-quiet";
  hint.setAttribute("aria-live", "polite");
  context.after(hint);

  async function tell() {
    hint.textContent = "";
    if (!template.value) return;
    const list = document.getElementById("outlook").dataset.url.replace(/outlook\/$/, "");
    const response = await fetch(`${list}template-variables/${template.value}/`);
    if (!response.ok) return;
    const { needed, sample, problem } = await response.json();
    hint.textContent = problem || (needed.length ? `It needs: ${needed.join(", ")}.` : "It needs nothing.");
    if (sample && ["", "{}", "null"].includes(context.value.trim())) {
      context.value = JSON.stringify(sample, null, 2);
    }
  }

  django.jQuery(template).on("change", tell);
  tell();
});
