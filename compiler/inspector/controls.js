// Controls and keys, and how the page begins.

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
  get sharp() { return picture.sharp; },
  paint: () => picture.paint(),
};
