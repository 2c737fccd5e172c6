// The page: its data, its state, and what clicks and keys do.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const KERNEL_COLOURS = 12;
const state = { station: 0, fold: "", colour: "part", steps: 0, tab: "node", kernel: -1, node: -1, group: -1, trail: [] };
const graphs = data.stations.map(() => null);
let graph, folding, view, foldings;

const picture = new Picture(byId("canvas"), byId("map"), pick, open);

const FOLDS = { "": "nothing", repetition: "repetitions", scope: "scopes", line: "source lines", kernel: "kernels" };
const COLOURS = { part: "part", dtype: "dtype", kernel: "kernel", heat: "cost" };

// stations

function enter(index) {
  state.station = index;
  graph = graphs[index] ||= new Graph(data.stations[index]);
  foldings = new Map();
  const offered = Object.keys(FOLDS).filter((by) => !by || graph.groups[by]);
  if (!offered.includes(state.fold)) state.fold = "";
  fill(byId("fold"), offered.map((by) => [by, FOLDS[by]]), state.fold);
  const weighed = graph.kernels.length > 0 && graph.kernels.every((kernel) => weight(kernel) !== null);
  const colours = Object.keys(COLOURS).filter((by) => (by !== "kernel" || graph.kernels.length) && (by !== "heat" || weighed));
  if (!colours.includes(state.colour)) state.colour = "part";
  fill(byId("colour"), colours.map((by) => [by, COLOURS[by]]), state.colour);
  byId("station").value = String(state.trail.length ? state.trail[0] : index);
  byId("crumbs").hidden = !state.trail.length;
  byId("steps").value = "0";
  Object.assign(state, { steps: 0, kernel: -1, node: -1, group: -1 });
  useFolding();
  render(true);
}

function useFolding() {
  if (!foldings.has(state.fold)) foldings.set(state.fold, new Folding(graph.groups[state.fold], graph.count));
  folding = foldings.get(state.fold);
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value, selected: undefined }, text)));
  select.value = chosen;
}

// what is shown

function render(whole) {
  const within = state.steps && state.node >= 0 ? graph.around(state.node, state.steps) : null;
  view = shown(graph, folding, within);
  view.items.forEach(describe);
  const { from, to } = view.edges;
  const scene = layOut(view.items.map((item) => item.rank), view.items.map((item) => item.width), from, to);
  const anchor = state.node >= 0 ? view.itemOf[state.node] : -1;
  const before = picture.selected >= 0 && !whole ? picture.toScreen(picture.selected) : null;
  picture.show({ ...view, ...scene });
  paintItems();
  if (whole || (anchor < 0 && !before)) picture.fit(true);
  picture.selected = anchor;
  if (anchor >= 0) state.group = view.items[anchor].group;
  if (anchor >= 0 && before) stay(anchor, before);
  lightKernel();
  search.mark();
  details();
}

/** Keeps an item where it was on the screen while the graph around it changes. */
function stay(item, [sx, sy]) {
  const [x, y] = picture.toScreen(item);
  picture.pan(sx - x, sy - y);
}

function describe(item) {
  const { node, group } = item;
  const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  item.title = shorten(group < 0 ? graph.text[node] : folding.title[group], 30);
  const given = graph.gives[node];
  const type = (given ? `→ ${given.join(", ")}  ` : "") + data.types[graph.type[node]];
  item.note = shorten(group < 0 ? type : folding.note[group], 44);
  item.round = group < 0 && !graph.args[node].length;
  if (group < 0) item.output = graph.isOutput[node] === 1;
  item.repeats = group >= 0 && item.loops && folding.together[group] === 1;
  item.width = Math.max(60, 7.3 * item.title.length + (item.round || item.repeats ? 36 : 24), 6.1 * item.note.length + 24);
}

function paintItems() {
  const most = Math.max(1e-30, ...graph.kernels.map(weight));
  const dtypes = [...new Set(graph.dtype)];
  for (const item of view.items) item.colour = colourOf(item, most, dtypes);
  legend(most, dtypes);
  if (picture.items.length) picture.paintMap();
  picture.redraw();
}

/** What a kernel weighs: its time where it was measured, else what its bytes or operations take; null where that is open. */
function weight(kernel) {
  return kernel.seconds ?? kernel.weight;
}

function colourOf({ node, group, kernels }, most, dtypes) {
  if (state.colour === "kernel") return kernels.length ? hue(kernels[0]) : "constant";
  if (state.colour === "heat") {
    return kernels.length ? heat(Math.max(...kernels.map((k) => weight(graph.kernels[k]))) / most) : "constant";
  }
  if (state.colour === "dtype") return hue(dtypes.indexOf(graph.dtype[node]));
  if (group >= 0) return "group";
  return graph.isOutput[node] ? "output" : data.roles[graph.role[node]];
}

const isDark = () => document.documentElement.dataset.theme === "dark";
const hue = (k) => `hsl(${Math.round((k % KERNEL_COLOURS) * 137.5 + 205) % 360} 62% ${isDark() ? 64 : 46}%)`;
const heat = (part) => `hsl(${Math.round(215 + 150 * Math.sqrt(part))} 70% ${isDark() ? 64 : 48}%)`;

function legend(most, dtypes) {
  let entries;
  if (state.colour === "part") {
    const present = new Set(view.items.map((item) => item.colour));
    entries = ["input", "constant", "forward", "backward", "output", "group"].filter((name) => present.has(name))
      .map((name) => [`var(--${name})`, name === "group" ? "folded" : name]);
  } else if (state.colour === "dtype") {
    entries = dtypes.map((name, k) => [hue(k), name || "not declared"]);
  } else if (state.colour === "kernel") {
    entries = graph.kernels.slice(0, KERNEL_COLOURS).map((kernel, k) => [hue(k), kernel.title]);
  } else {
    const measured = graph.kernels.some((kernel) => kernel.seconds !== null);
    entries = [[heat(0), "little"], [heat(0.25), ""], [heat(1), measured ? `most time, ${inSeconds(most)}` : "most cost, estimated"]];
  }
  byId("legend").replaceChildren(...entries.map(([colour, name]) => {
    const patch = element("i");
    patch.style.background = colour;
    return element("span", {}, patch, name);
  }));
}

// choosing

function pick(item) {
  picture.selected = item;
  state.node = item < 0 ? -1 : view.items[item].node;
  state.group = item < 0 ? -1 : view.items[item].group;
  if (item >= 0) {
    state.tab = "node";
    say(`${view.items[item].title}, ${view.items[item].note}`);
  }
  if (state.steps && item >= 0) render(false);
  picture.redraw();
  details();
}

/** Selects a node and moves to it, wherever it is hidden. */
function goTo(node) {
  if (graph.inlined(node)) node = graph.neighbours(node, graph.uses)[0]; // a number stands in its user's label
  if (view.itemOf[node] < 0) {
    state.steps = 0;
    byId("steps").value = "0";
    render(false);
  }
  if (view.items[view.itemOf[node]].group >= 0) {
    folding.reveal(node);
    render(false);
  }
  pick(view.itemOf[node]);
  picture.goTo(view.itemOf[node]);
}

function open(item) {
  const { node, group } = view.items[item];
  const bodies = graph.bodies[node];
  if (group >= 0) doors.unfold(group);
  else if (bodies) doors.openBody(bodies[0][1]);
  else if (folding.path(node).length) doors.fold(folding.path(node).pop());
}

const doors = {
  goTo,
  unfold(group) {
    for (const one of folding.siblings(group)) folding.opened.add(one);
    state.group = -1;
    render(false);
  },
  fold(group) {
    for (const one of folding.siblings(group)) folding.opened.delete(one);
    render(false);
    pick(view.itemOf[state.node]);
  },
  openBody(station) {
    state.trail.push(state.station);
    enter(station);
  },
  showKernel(kernel) {
    state.kernel = state.kernel === kernel && state.tab === "kernels" ? -1 : kernel;
    state.tab = "kernels";
    lightKernel();
    details();
  },
};

function lightKernel() {
  picture.lit = null;
  if (state.kernel >= 0) {
    picture.lit = new Set();
    graph.kernel.forEach((kernels, node) => {
      if (kernels.includes(state.kernel) && view.itemOf[node] >= 0) picture.lit.add(view.itemOf[node]);
    });
  }
  picture.redraw();
}

function details() {
  for (const tab of ["node", "kernels", "about"]) byId(`tab-${tab}`).setAttribute("aria-selected", state.tab === tab);
  let parts;
  if (state.tab === "kernels") parts = kernelDetails(graph, state.kernel, doors);
  else if (state.tab === "about") parts = aboutDetails(data, graph);
  else if (state.node < 0) {
    parts = [element("p", { className: "muted" }, "Click a node, or search for one, to see its formula, type, source line, " +
      "kernel and neighbours. Double-click opens what is folded."),
    pairs([["nodes", String(graph.count)], ["shown", String(view.items.length)], ["edges", String(view.edges.from.length)]])];
  } else if (state.group >= 0) {
    const item = view.itemOf[state.node];
    const members = [];
    view.itemOf.forEach((other, node) => other === item && members.push(node));
    parts = groupDetails(data, graph, folding, state.group, members, doors);
  } else parts = nodeDetails(data, graph, folding, state.node, doors);
  byId("details").replaceChildren(...parts);
  byId("details").scrollTop = 0;
}

function say(text) {
  byId("said").textContent = text;
}

// searching

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

// controls

function choose(id, key, then) {
  byId(id).addEventListener("change", (event) => {
    state[key] = event.target.value;
    then();
  });
}

fill(byId("station"), data.stations.map((station, k) => [String(k), station.title]).filter((_, k) => !data.stations[k].inner), "0");
byId("station").addEventListener("change", (event) => {
  state.trail = [];
  enter(Number(event.target.value));
});
choose("fold", "fold", () => {
  useFolding();
  state.group = -1;
  render(true);
});
choose("colour", "colour", paintItems);
byId("steps").addEventListener("change", (event) => around(Number(event.target.value)));

function around(steps) {
  if (steps && state.node < 0) {
    say("choose a node first");
    byId("steps").value = "0";
    return;
  }
  state.steps = steps;
  byId("steps").value = String(steps);
  render(steps !== 0);
}

function foldAll(closed) {
  if (!state.fold && closed) {
    const offered = [...byId("fold").options].map((option) => option.value).filter(Boolean);
    if (!offered.length) return;
    state.fold = byId("fold").value = offered[0];
    useFolding();
  }
  if (closed) folding.opened.clear();
  else folding.openAll();
  state.group = -1;
  render(true);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  picture.readColours();
  if (view) paintItems();
}

byId("collapse").addEventListener("click", () => foldAll(true));
byId("expand").addEventListener("click", () => foldAll(false));
byId("fit").addEventListener("click", () => picture.fit());
byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("grip").addEventListener("click", togglePanel);
byId("crumbs").append(element("button", { type: "button" }, "← back to the graph around"));
byId("crumbs").firstChild.addEventListener("click", () => enter(state.trail.pop()));
for (const tab of ["node", "kernels", "about"]) {
  byId(`tab-${tab}`).addEventListener("click", () => {
    state.tab = tab;
    details();
  });
}

function togglePanel() {
  const bare = document.body.classList.toggle("bare");
  byId("grip").textContent = bare ? "▴" : "▾";
}

/** Along edges: up to the first argument, down to the first user, left and right within the layer. */
function walk(direction) {
  const item = picture.selected;
  if (item < 0) {
    if (view.items.length) step(view.itemOf[graph.outputs.find((node) => view.itemOf[node] >= 0)] ?? 0);
    return;
  }
  const { from, to } = view.edges;
  let next;
  if (direction === "ArrowUp") next = picture.near.into[item].map((edge) => from[edge])[0];
  else if (direction === "ArrowDown") next = picture.near.outOf[item].map((edge) => to[edge])[0];
  else {
    const row = picture.rows[picture.layer[item]];
    next = row[row.indexOf(item) + (direction === "ArrowLeft" ? -1 : 1)];
  }
  if (next !== undefined) step(next);
}

function step(item) {
  if (!state.steps) pick(item);
  else {
    const { node } = view.items[item];
    pick(item);
    item = view.itemOf[node];
  }
  picture.goTo(item);
}

function nextStation(by) {
  const ids = [...byId("station").options].map((option) => Number(option.value));
  const at = ids.indexOf(state.trail.length ? state.trail[0] : state.station);
  state.trail = [];
  enter(ids[(at + by + ids.length) % ids.length]);
}

function changeSteps(by) {
  const values = [...byId("steps").options].map((option) => Number(option.value));
  const at = values.indexOf(state.steps) + by;
  if (at >= 0 && at < values.length) around(values[at]);
}

const KEYS = [
  [["/"], "search; Enter jumps, and to the next with Enter again", () => {
    byId("search").focus();
    byId("search").select();
  }],
  [["ArrowUp"], "to the first argument", () => walk("ArrowUp")],
  [["ArrowDown"], "to the first user", () => walk("ArrowDown")],
  [["ArrowLeft", "ArrowRight"], "to the neighbour in the layer", (key) => walk(key)],
  [["Enter", " "], "unfold, or fold again", () => picture.selected >= 0 && open(picture.selected)],
  [["c"], "fold all", () => foldAll(true)],
  [["e"], "unfold all", () => foldAll(false)],
  [["[", "]"], "fewer or more steps around the selected node", (key) => changeSteps(key === "]" ? 1 : -1)],
  [["s", "S"], "next or previous graph: before, after, with gradient", (key) => nextStation(key === "s" ? 1 : -1)],
  [["+", "=", "-"], "zoom", (key) => picture.zoomAt(key === "-" ? 1 / 1.25 : 1.25)],
  [["0", "f"], "whole graph", () => picture.fit()],
  [["d"], "show or hide the details", togglePanel],
  [["t"], "light or dark", () => setTheme(isDark() ? "light" : "dark")],
  [["Escape"], "select nothing", () => {
    Object.assign(state, { kernel: -1 });
    lightKernel();
    pick(-1);
    if (state.steps) around(0);
  }],
  [["?"], "these keys", () => byId("keys").showModal()],
];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const inSelect = event.target.matches("select") && !["/", "?", "Escape", "[", "]"].includes(event.key); // it takes letters
  const typing = inSelect || event.target.matches("input");
  const onButton = event.target.matches("button, tr") && (event.key === "Enter" || event.key === " ");
  if (typing || onButton) return;
  for (const [keys, , act] of KEYS) {
    if (!keys.includes(event.key)) continue;
    event.preventDefault();
    act(event.key);
    return;
  }
});

const SHOWN = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "Space" };
for (const [keys, what] of KEYS) {
  byId("keylist").append(element("dt", {}, ...keys.filter((key) => key !== "=").map((key) => element("kbd", {}, SHOWN[key] || key))),
    element("dd", {}, what));
}

// the beginning

byId("title").textContent = data.title;
byId("title").title = data.formula;
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
setTheme(dark.matches ? "dark" : "light");
picture.resize();
const first = data.stations[0];
if (first.label.length > 150 && first.groups.repetition) state.fold = "repetition";
enter(0);

// For scripts that drive the page: where a box is on the screen, and what is shown.
window.inspector = {
  state,
  place(title) {
    const [x, y] = picture.toScreen(view.items.findIndex((item) => item.title === title));
    const { left, top } = byId("canvas").getBoundingClientRect();
    return [x + left, y + top];
  },
  titles: () => view.items.map((item) => item.title),
  get camera() { return { ...picture.camera }; },
  get counts() { return { nodes: graph.count, items: view.items.length, edges: view.edges.from.length }; },
  get matches() { return picture.matches.size; },
  paint: () => picture.paint(),
};
