/* The preview as one types: the server renders, half a second after the last key. */
(function () {
  "use strict";
  const form = document.getElementById("preview-form");
  if (!form) return;
  let waiting = 0, asked = 0;

  function renew() {
    const number = ++asked;
    fetch(location.href, { method: "POST", body: new FormData(form), credentials: "same-origin" })
      .then(function (answer) { return answer.text(); })
      .then(function (page) {
        if (number !== asked) return; // a later one is on its way
        const found = new DOMParser().parseFromString(page, "text/html").getElementById("preview-shown");
        if (found) document.getElementById("preview-shown").replaceWith(found);
      });
  }
  form.addEventListener("input", function (event) {
    if (event.target.name === "recipient") return;
    clearTimeout(waiting);
    waiting = setTimeout(renew, 500);
  });
})();
