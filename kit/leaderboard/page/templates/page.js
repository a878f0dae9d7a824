(function () {
  "use strict";
  var board = document.querySelector("#board > table");
  var tools = document.getElementById("tools");
  if (!board || !tools) { return; }
  tools.hidden = false;
  var rows = Array.prototype.slice.call(board.tBodies);
  var heads = Array.prototype.slice.call(board.tHead.rows[0].cells);
  var original = rows.slice();
  function text(row, column) { return row.rows[0].cells[column].dataset.key; }
  var sort = document.getElementById("sort");
  function order(column, down) {
    heads.forEach(function (head) { head.removeAttribute("aria-sort"); });
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    sort.value = String(column);
    // A column is numeric only if every key is a number: a name may begin with a digit.
    var numbers = rows.every(function (row) { return isFinite(text(row, column)); });
    rows.sort(function (a, b) {
      var x = text(a, column), y = text(b, column);
      if (numbers) { x = Number(x); y = Number(y); }
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    }).forEach(function (row) { board.appendChild(row); });
  }
  heads.forEach(function (head, column) {
    if (!head.dataset.sort) { return; }
    var option = document.createElement("option");
    option.value = String(column);
    option.textContent = "sort by " + head.textContent.toLowerCase();
    sort.appendChild(option);
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") !== "descending" && head.dataset.sort === "down" ||
        head.getAttribute("aria-sort") === "ascending";
      order(column, down);
    });
  });
  sort.addEventListener("input", function () {
    if (sort.value) { order(Number(sort.value), heads[sort.value].dataset.sort === "down"); return; }
    heads.forEach(function (head) { head.removeAttribute("aria-sort"); });
    original.forEach(function (row) { board.appendChild(row); });
  });
  var find = document.getElementById("find");
  var task = document.getElementById("task");
  var tier = document.getElementById("tier");
  var count = document.getElementById("count");
  function filter() {
    var words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    rows.forEach(function (row) {
      var all = row.textContent.toLowerCase();
      var fits = words.every(function (word) { return all.indexOf(word) >= 0; }) &&
        (!task.value || row.dataset.task === task.value) &&
        (!tier.value || Number(row.dataset.tier) >= Number(tier.value));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = shown + " of " + rows.length + " rows";
  }
  [find, task, tier].forEach(function (tool) { tool.addEventListener("input", filter); });
  filter();
})();
