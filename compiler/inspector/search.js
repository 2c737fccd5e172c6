// Searching: the field, the list of what was found, and jumping to it.

const search = {
  found: [],
  at: 0,
  /** Nodes whose label, formula, type, scope or source line hold all the words; those named so come first. */
  run(text) {
    const wanted = text.trim().toLowerCase();
    const words = wanted.split(/\s+/).filter(Boolean);
    const ranked = [];
    for (let node = 0; words.length && node < graph.count; node++) {
      if (graph.inlined(node)) continue;
      const own = graph.text[node].toLowerCase();
      const named = [own, graph.label[node], ...(graph.gives[node] || [])].join("\n").toLowerCase();
      const where = graph.places[node].map((k) => `${data.places[k].name}:${data.places[k].line} ${data.places[k].text}`);
      const all = [named, data.types[graph.type[node]], ...graph.scope[node], ...where].join("\n").toLowerCase();
      if (!words.every((word) => all.includes(word))) continue;
      ranked.push([own === wanted ? 0 : words.every((word) => named.includes(word)) ? 1 : 2, node]);
    }
    this.found = ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, node]) => node);
    this.at = 0;
    this.mark();
    this.list();
  },
  mark() {
    picture.matches = new Set(this.found.map((node) => view.itemOf[node]).filter((item) => item >= 0));
    picture.redraw();
  },
  list() {
    const list = byId("results");
    const open = byId("search").value.trim() !== "";
    list.hidden = !open;
    byId("search").setAttribute("aria-expanded", open);
    const rows = this.found.slice(0, 40).map((node, k) => {
      const place = data.places[graph.places[node][0]];
      const row = element("li", { role: "option", selected: k === this.at, id: `result-${k}` }, graph.text[node],
        element("small", {}, data.types[graph.type[node]], place ? `  ${place.name}:${place.line}` : ""));
      row.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.at = k;
        this.jump();
      });
      return row;
    });
    if (open) rows.push(element("li", { className: "muted" }, `${this.found.length || "no"} node${this.found.length === 1 ? "" : "s"}`));
    list.replaceChildren(...rows);
    byId("search").setAttribute("aria-activedescendant", this.found.length ? `result-${this.at}` : "");
    if (rows[this.at]) rows[this.at].scrollIntoView({ block: "nearest" });
  },
  jump() {
    if (!this.found.length) return;
    goTo(this.found[this.at]);
    this.list();
  },
  next(step) {
    if (!this.found.length) return;
    this.at = (this.at + step + this.found.length) % this.found.length;
    this.list();
  },
  close() {
    byId("results").hidden = true;
    byId("search").setAttribute("aria-expanded", false);
  },
};

byId("search").addEventListener("input", (event) => search.run(event.target.value));
byId("search").addEventListener("blur", () => search.close());
byId("search").addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Enter") {
    search.jump();
    search.next(event.shiftKey ? -1 : 1); // Enter again: the next one
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    search.next(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Escape") {
    event.target.value = "";
    search.run("");
    byId("canvas").focus();
  }
});
