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

// A table that is wider than its place says so.
function tellWidth() {
  for (const hint of document.querySelectorAll(".hint")) {
    const place = document.getElementById(hint.id.replace(/-hint$/, "")).parentElement;
    hint.hidden = place.scrollWidth <= place.clientWidth;
  }
}
addEventListener("resize", tellWidth);
tellWidth();

// Charts: drawn as SVG, so that the page's colours, the reader's zoom and paper reach them.

const PIXELS = 2; // of a saved PNG for each pixel of the page

// The chart by itself, on white ground and in fonts that a drawing program knows.
async function drawing(view) {
  await view.background("white").runAsync();
  const text = await view.toSVG();
  await view.background("transparent").runAsync();
  return text.replaceAll('font-family="inherit"', 'font-family="sans-serif"');
}

async function pixels(svg) {
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = PIXELS * image.width;
  canvas.height = PIXELS * image.height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function save(view, key, kind) {
  const svg = await drawing(view);
  const content = kind === "PNG" ? await pixels(svg) : new Blob([svg], { type: "image/svg+xml" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${key}.${kind.toLowerCase()}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // the browser reads it after the click
}

const specs = document.getElementById("specs");
if (specs) {
  const drawings = Object.entries(JSON.parse(specs.textContent)).map(async ([key, spec]) => {
    const place = document.getElementById(key);
    const { view } = await vegaEmbed(place, spec, {
      renderer: "svg",
      actions: false,
      tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" },
      bind: document.getElementById(`${key}-choice`),
    });
    place.querySelector("svg").setAttribute("aria-hidden", "true"); // its place is the image, and is described
    for (const button of document.querySelectorAll(`button[data-chart="${key}"]`)) {
      button.addEventListener("click", () => save(view, key, button.dataset.kind));
      button.parentElement.hidden = false;
    }
  });
  Promise.all(drawings).then(() => document.body.setAttribute("data-drawn", "true"));
}
