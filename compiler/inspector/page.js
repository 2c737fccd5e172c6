// The page: its data, its state, what is shown, and what is chosen.

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
