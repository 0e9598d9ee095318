"use strict";
// Sorts a table by the column that is clicked: by its numbers where it has them, else by its text.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.ariaSort === "descending" || (head.ariaSort === null && head.className !== "number");
      for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
      head.ariaSort = falling ? "ascending" : "descending";
      const sign = falling ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => sign * compare(key(a, head.cellIndex), key(b, head.cellIndex)));
      body.append(...rows);
    });
  }
}
