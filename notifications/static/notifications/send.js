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
  function take(text, problem) {
    rows.value = text;
    rows.setCustomValidity(problem);
    rows.reportValidity();
    form.dispatchEvent(new Event("filled"));
  }
  // The server reads a workbook: it answers with the CSV that the first sheet would be saved as.
  function convert(file) {
    const body = new FormData();
    body.append("file", file);
    body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    return fetch(form.dataset.sheet, { method: "POST", body: body })
      .then(function (answer) {
        if (!answer.ok) throw new Error(String(answer.status));
        return answer.json();
      })
      .then(function (found) { take(found.rows, found.problem); })
      .catch(function () { take("", "The file could not be sent. Try again, or save the sheet as a CSV."); });
  }
  function fill(file) {
    if (!file) return;
    file.arrayBuffer().then(function (buffer) {
      const bytes = new Uint8Array(buffer);
      const isBook = /\.xls[xm]?$/i.test(file.name) || (bytes[0] === 0x50 && bytes[1] === 0x4b);
      if (isBook) return convert(file);
      try {
        take(decoded(bytes), "");
      } catch (error) {
        take("", "The file is not in UTF-8. Save the sheet as “CSV UTF-8”.");
      }
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
  function recheck() {
    const send = form.querySelector("[name=send]");
    if (send) send.remove();
  }
  form.addEventListener("filled", recheck);
  form.addEventListener("input", function () {
    rows.setCustomValidity("");
    recheck();
  });
})();
