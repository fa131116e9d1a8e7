
"use strict";
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  const compare = (a, b, numbers) => numbers ? a - b : a.localeCompare(b, "zh");
  const sort = (column, up) => {
    const numbers = heads[column].dataset.sort === "number";
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => {
      const a = key(one, column), b = key(other, column);
      if (a === "" || b === "") return (a === "") - (b === "");
      return up ? compare(a, b, numbers) : compare(b, a, numbers);
    });
    table.tBodies[0].append(...rows);
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  };
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    sort(column, now ? now !== "ascending" : head.dataset.first !== "descending");
  }));
  table.classList.add("live");
}
