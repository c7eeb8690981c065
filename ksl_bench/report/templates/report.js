"use strict";
// Tables can be sorted by their heads, a link to a row opens it, and what is wider than the page says so.
// Without this script all is there to read.
(function () {
  function key(row, place) {
    const cell = row.cells[place];
    if (!cell || cell.colSpan > 1 || !("value" in cell.dataset)) return null;
    const number = Number(cell.dataset.value);
    return Number.isNaN(number) ? cell.dataset.value : number;
  }

  function compare(one, two) {
    if (typeof one === "number" && typeof two === "number") return one - two;
    return String(one).localeCompare(String(two), "en", { numeric: true });
  }

  function sort(table, head) {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => [key(row, head.cellIndex), row]);
    // What has no value comes last, whichever way.
    rows.sort(([one], [two]) => {
      if (one === null || two === null) return (one === null) - (two === null);
      return ascending ? compare(one, two) : compare(two, one);
    });
    for (const [, row] of rows) body.append(row);
    document.getElementById("said").textContent =
      table.caption.textContent + ": by " + head.textContent + ", " + (ascending ? "ascending" : "descending");
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head));
    }
  }

  function open() {
    const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const around = wanted && wanted.closest("details");
    if (around && !around.open) {
      around.open = true;
      around.scrollIntoView();
    }
  }

  const width = new ResizeObserver((entries) => {
    for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
  });
  for (const region of document.querySelectorAll(".scroll")) width.observe(region);

  window.addEventListener("hashchange", open);
  open();
})();
