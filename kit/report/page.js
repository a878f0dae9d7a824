(function () {
  "use strict";
  var board = document.querySelector("#board > table");
  var tools = document.getElementById("tools");
  if (!board || !tools) { return; }
  tools.hidden = false;
  var rows = Array.prototype.slice.call(board.tBodies);
  var heads = Array.prototype.slice.call(board.tHead.rows[0].cells);
  function key(row, column) {
    var text = row.rows[0].cells[column].dataset.key;
    var number = parseFloat(text);
    return isNaN(number) ? text : number;
  }
  heads.forEach(function (head, column) {
    if (!head.dataset.sort) { return; }
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") !== "descending" && head.dataset.sort === "down" ||
        head.getAttribute("aria-sort") === "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort(function (a, b) {
        var x = key(a, column), y = key(b, column);
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      }).forEach(function (row) { board.appendChild(row); });
    });
  });
  var text = document.getElementById("find");
  var task = document.getElementById("task");
  var tier = document.getElementById("tier");
  var count = document.getElementById("count");
  function filter() {
    var words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
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
  [text, task, tier].forEach(function (tool) { tool.addEventListener("input", filter); });
  filter();
})();
