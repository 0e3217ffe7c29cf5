/* The page to send from: a file goes into the box of rows, and the template's columns are named. */
(function () {
  "use strict";
  const form = document.getElementById("send");
  if (!form) return;
  const columns = JSON.parse(document.getElementById("template-columns").textContent);
  const rows = form.elements.rows, template = form.elements.template, told = document.getElementById("columns");

  function decoded(bytes) {
    const mark = bytes[0] << 8 | bytes[1];
    const charset = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[mark] || "utf-8";
    return new TextDecoder(charset, { fatal: true }).decode(bytes);
  }
  function fill(file) {
    if (!file) return;
    file.arrayBuffer().then(function (buffer) {
      let problem = "";
      try {
        rows.value = decoded(new Uint8Array(buffer));
      } catch (error) {
        rows.value = "";
        problem = "The file is not in UTF-8. Save the sheet as “CSV UTF-8”.";
      }
      rows.setCustomValidity(problem);
      rows.reportValidity();
    });
  }
  function tell() {
    const names = columns[template.value] || [];
    told.textContent = "Columns: " + names.join(", ");
    if (!rows.value.trim()) rows.placeholder = names.join(",");
  }
  document.getElementById("file").addEventListener("change", function (event) { fill(event.target.files[0]); });
  rows.addEventListener("dragover", function (event) { event.preventDefault(); });
  rows.addEventListener("drop", function (event) {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    fill(event.dataTransfer.files[0]);
  });
  template.addEventListener("change", tell);
  tell();

  // What was checked is what is sent: a change asks to check again.
  form.addEventListener("input", function () {
    rows.setCustomValidity("");
    const send = form.querySelector("[name=send]");
    if (send) send.remove();
  });
})();
