"use strict";

// Tables: a click on a heading sorts, words in the field above filter.

function cellText(row, column) {
  return row.cells[column].textContent.trim();
}

function compared(one, other) {
  const [a, b] = [parseFloat(one), parseFloat(other)];
  if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
  return Number.isNaN(a) ? one.localeCompare(other, "en", { numeric: true }) : a - b;
}

function sortBy(table, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((one, other) => {
    const order = compared(cellText(one, heading.cellIndex), cellText(other, heading.cellIndex));
    return descending ? -order : order;
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table")) {
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
