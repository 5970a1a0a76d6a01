"use strict";

// Tables: a click on a heading sorts, words in the field above filter.

// "< 0.001" is a number too, a little below its bound.
function numberOf(text) {
  const found = /^([<≤]?)\s*([+-]?\d[\d.]*(?:e[+-]?\d+)?)/i.exec(text);
  return found ? parseFloat(found[2]) * (found[1] ? 0.999 : 1) : NaN;
}

// Numbers before texts; what is absent comes last, whichever way the column is sorted.
function compared(one, other, descending) {
  const [absent, otherAbsent] = [one, other].map((text) => text === "" || text === "–");
  if (absent !== otherAbsent) return absent ? 1 : -1;
  const [a, b] = [numberOf(one), numberOf(other)];
  if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
  const order = Number.isNaN(a) ? one.localeCompare(other, "en", { numeric: true }) : a - b;
  return descending ? -order : order;
}

function sortBy(table, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const text = (row) => row.cells[heading.cellIndex].textContent.trim();
  body.append(...[...body.rows].sort((one, other) => compared(text(one), text(other), descending)));
}

for (const table of document.querySelectorAll("table:not(.plain)")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
  }
}

for (const field of document.querySelectorAll("input[data-table]")) {
  const rows = [...document.getElementById(field.dataset.table).tBodies[0].rows];
  const told = field.parentElement.querySelector("output");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    told.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
}

// Charts: drawn as SVG, so that the page's colours, the reader's zoom and paper reach them.

const specs = document.getElementById("specs");
if (specs) {
  const drawings = Object.entries(JSON.parse(specs.textContent)).map(async ([key, spec]) => {
    const place = document.getElementById(key);
    await vegaEmbed(place, spec, {
      renderer: "svg",
      actions: false,
      tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
      bind: document.getElementById(`${key}-choice`),
    });
    place.querySelector("svg").setAttribute("aria-hidden", "true"); // its place is the image, and is described
  });
  Promise.all(drawings).then(() => document.body.setAttribute("data-drawn", "true"));
}
