"use strict";
/* Sorts a table by the column whose heading is clicked, and filters its rows by words. */
function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
}
function compareValues(a, b) {
  const x = Number(a), y = Number(b);
  const numbers = a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y);
  if (numbers) return x - y;
  return a.localeCompare(b, undefined, { numeric: true });
}
function sortBy(table, head, column) {
  const rising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [valueOf(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return rising ? compareValues(a, b) : compareValues(b, a);
  });
  body.append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    if (head.textContent.trim() === "") return;
    head.tabIndex = 0;
    head.title = "sort";
    head.addEventListener("click", () => sortBy(table, head, column));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter") sortBy(table, head, column);
    });
  });
}
for (const input of document.querySelectorAll("input.filter")) {
  const table = document.getElementById(input.dataset.table);
  const shown = document.getElementById(input.dataset.table + "-shown");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = count + " of " + table.tBodies[0].rows.length + " shown";
  });
}
