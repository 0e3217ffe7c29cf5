// The schedule's form: what is typed in words, with the next fires, asked of this server alone.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const outlook = document.getElementById("outlook");
  const form = outlook && outlook.closest("form");
  if (!form) return;
  suggestZones(form);

  const FIELDS = ["when", "cron", "timezone", "every", "period", "at_0", "at_1",
    "start_time_0", "start_time_1", "expires_0", "expires_1"];
  let asked = 0;
  let timer;

  async function renew() {
    const typed = new URLSearchParams();
    for (const name of FIELDS) {
      if (form.elements[name]) typed.set(name, form.elements[name].value);
    }
    typed.set("task", outlook.dataset.task);
    const number = ++asked;
    const response = await fetch(`${outlook.dataset.url}?${typed}`);
    if (!response.ok || number !== asked) return;  // an answer that came too late is not shown
    show(await response.json());
  }

  function show({ words, fires, problem, no_longer = [], new: added = [] }) {
    outlook.querySelector(".outlook-words").textContent = words;
    outlook.querySelector(".outlook-problem").textContent = problem;
    list(".outlook-fires", fires);
    list(".outlook-no-longer", no_longer);
    list(".outlook-new", added);
    outlook.querySelector(".outlook-moves").hidden = !no_longer.length && !added.length;
  }

  function list(place, texts) {
    outlook.querySelector(place).replaceChildren(...texts.map((text) => {
      const line = document.createElement("li");
      line.textContent = text;
      return line;
    }));
  }

  form.addEventListener("input", (event) => {
    if (!FIELDS.includes(event.target.name)) return;
    clearTimeout(timer);
    timer = setTimeout(renew, 250);
  });
  form.addEventListener("change", (event) => {
    if (event.target.name === "when") renew();
  });
});

function suggestZones(form) {
  const list = document.createElement("datalist");
  list.id = "zones";
  const zones = ["UTC", ...Intl.supportedValuesOf("timeZone")];
  list.append(...zones.map((zone) => new Option(zone, zone)));
  form.append(list);
}
