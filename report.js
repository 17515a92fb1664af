"use strict";
// Makes the heads of tables sort them. Cells without a figure come last in
// either direction.
for (const table of document.querySelectorAll("table.sortable")) {
	const heads = [...table.tHead.rows[0].cells];
	const body = table.tBodies[0];
	heads.forEach((head, column) => {
		const button = document.createElement("button");
		button.type = "button";
		button.textContent = head.textContent;
		head.replaceChildren(button);
		button.addEventListener("click", () => {
			const down = head.getAttribute("aria-sort") === "ascending";
			for (const h of heads) h.removeAttribute("aria-sort");
			head.setAttribute("aria-sort", down ? "descending" : "ascending");
			body.replaceChildren(...sorted([...body.rows], column, head.classList.contains("n"), down));
		});
	});
}

function sorted(rows, column, numeric, down) {
	const key = (row) => {
		const cell = row.cells[column];
		if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
		return numeric ? NaN : cell.textContent;
	};
	return rows
		.map((row) => ({ row, key: key(row) }))
		.sort((a, b) => {
			if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key);
			const order = typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key);
			return down ? -order : order;
		})
		.map((entry) => entry.row);
}
