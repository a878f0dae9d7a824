// As much of a document as the board's script touches, so that node can run it where there is no browser.
// Reads {tree, script, scenario} as JSON on stdin; prints what the scenario returns as JSON.
"use strict";

class Element {
  constructor(tag, attributes) {
    this.tag = tag; this.attributes = attributes; this.children = []; this.parent = null;
    this.listeners = {}; this.own = ""; this.value = ""; this.type = "";
    this.hidden = "hidden" in attributes;
    this.dataset = {};
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("data-")) { this.dataset[name.slice(5)] = value; }
    }
  }
  get textContent() { return this.own + this.children.map(c => c.textContent).join(""); }
  set textContent(text) { this.children = []; this.own = text; }
  appendChild(child) {
    if (child.parent) { child.parent.children = child.parent.children.filter(c => c !== child); }
    child.parent = this;
    this.children.push(child);
  }
  getAttribute(name) { return name in this.attributes ? this.attributes[name] : null; }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  addEventListener(kind, listener) { (this.listeners[kind] = this.listeners[kind] || []).push(listener); }
  fire(kind) { (this.listeners[kind] || []).forEach(listener => listener({})); }
  all() { return this.children.flatMap(c => [c, ...c.all()]); }
  of(...tags) { return this.children.filter(c => tags.includes(c.tag)); }
  get tBodies() { return this.of("tbody"); }
  get tHead() { return this.of("thead")[0]; }
  get rows() { return this.of("tr"); }
  get cells() { return this.of("td", "th"); }
}

function build(tree) {
  if (typeof tree === "string") { const text = new Element("#text", {}); text.own = tree; return text; }
  const element = new Element(tree[0], tree[1]);
  tree[2].forEach(child => element.appendChild(build(child)));
  return element;
}

const given = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const root = build(given.tree);
const document = {
  getElementById: id => root.all().find(e => e.attributes.id === id) || null,
  querySelector(selector) {
    if (selector !== "#board > table") { throw new Error("not known here: " + selector); }
    const board = document.getElementById("board");
    return board && board.of("table")[0] || null;
  },
  createElement: tag => new Element(tag, {}),
};
new Function("document", given.script)(document);
const board = document.querySelector("#board > table");
const page = {
  rows: () => board ? board.tBodies.filter(r => !r.hidden) : [],
  column: n => page.rows().map(r => r.rows[0].cells[n].dataset.key),
  click: n => board.tHead.rows[0].cells[n].all().find(e => e.tag === "button").fire("click"),
  set: (id, value) => { const e = document.getElementById(id); e.value = value; e.fire("input"); },
  sorted: () => board.tHead.rows[0].cells.map(c => c.getAttribute("aria-sort")),
  text: id => document.getElementById(id).textContent,
  hidden: id => document.getElementById(id).hidden,
};
process.stdout.write(JSON.stringify(new Function("page", "return " + given.scenario)(page)));
