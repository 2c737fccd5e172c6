// The details beside the picture. Texts are set as text, never as markup: names are data.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { role, selected, ...own } = properties;
  Object.assign(made, own);
  if (role) made.setAttribute("role", role);
  if (selected !== undefined) made.setAttribute("aria-selected", selected);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function pairs(rows) {
  const list = element("dl");
  for (const [name, value] of rows) {
    if (value !== null && value !== undefined && value !== "") list.append(element("dt", {}, name), element("dd", {}, value));
  }
  return list;
}

/** 1234 as "1.23 k", in units of thousands. */
function scaled(value, units) {
  let number = value, k = 0;
  while (number >= 999.5 && k + 1 < units.length) [number, k] = [number / 1000, k + 1];
  return `${number >= 99.5 || Number.isInteger(number) ? Math.round(number) : number.toPrecision(3)} ${units[k]}`;
}
const inBytes = (value) => (typeof value === "number" ? scaled(value, ["B", "kB", "MB", "GB", "TB"]) : value);
const inSeconds = (value) => (value === null ? null : scaled(value * 1e9, ["ns", "µs", "ms", "s"]));
const inFlops = (value) => (typeof value === "number" ? scaled(value, ["", "k", "M", "G", "T"]).trim() : value);

function section(title, ...children) {
  return children.length ? [element("h3", {}, title), ...children] : [];
}

/** A list of buttons; `entries` are [text, note, action]. */
function links(entries, most = 60) {
  const list = element("ul", { className: "links" });
  for (const [text, note, action] of entries.slice(0, most)) {
    const button = element("button", { type: "button" }, text, element("small", {}, note));
    button.addEventListener("click", action);
    list.append(element("li", {}, button));
  }
  if (entries.length > most) list.append(element("li", { className: "muted" }, `and ${entries.length - most} more`));
  return list;
}

function sourceLines(data, places) {
  return places.map((k) => {
    const place = data.places[k];
    return element("div", {}, element("span", { className: "muted", title: place.file }, `${place.name}:${place.line}`),
      element("pre", { className: "wrap" }, place.text || "(the source is not there)"));
  });
}

/** What is known of a node. `doors`: goTo(node), fold(group), openBody(station), showKernel(kernel). */
function nodeDetails(data, graph, folding, node, doors) {
  const given = graph.gives[node] || [];
  const entry = (other) => [graph.text[other], data.types[graph.type[other]], () => doors.goTo(other)];
  const kernels = graph.kernel[node];
  const times = kernels.map((k) => inSeconds(graph.kernels[k].seconds)).filter((time) => time !== null);
  const bodies = graph.bodies[node] || [];
  return [
    element("h2", {}, graph.label[node]),
    element("pre", { className: "wrap" }, graph.formula(node)),
    pairs([
      ["is", given.join(", ")],
      ["part", data.roles[graph.role[node]]],
      ["shape", graph.shape[node]],
      ["dtype", graph.dtype[node]],
      ["bytes", inBytes(graph.bytes[node])],
      ["scope", graph.scope[node].join(", ")],
      ["time", times.length ? `${times.join(", ")} (its kernel${times.length > 1 ? "s" : ""})` : null],
    ]),
    ...section("Source", ...sourceLines(data, graph.places[node])),
    ...(kernels.length ? section("Kernel", links(kernels.map((k) => [graph.kernels[k].title, graph.kernels[k].note,
      () => doors.showKernel(k)]))) : []),
    ...(bodies.length ? section("Inside", links(bodies.map(([title, station]) => [title, "", () => doors.openBody(station)]))) : []),
    ...(graph.args[node].length ? section("Arguments", links(graph.args[node].map(entry))) : []),
    ...(graph.neighbours(node, graph.uses).length
      ? section("Used by", links(Array.from(graph.neighbours(node, graph.uses)).map(entry))) : []),
    ...folds(folding, folding.path(node), doors),
  ];
}

function folds(folding, path, doors) {
  const open = path.filter((group) => folding.opened.has(group));
  if (!open.length) return [];
  return section("Fold again", links(open.map((group) => [folding.title[group], folding.note[group], () => doors.fold(group)])));
}

/** What is known of a closed group. */
function groupDetails(data, graph, folding, group, members, doors) {
  const unfold = element("button", { type: "button" }, "Unfold (Enter)");
  unfold.addEventListener("click", () => doors.unfold(group));
  const places = [...new Set(members.flatMap((node) => graph.places[node].slice(0, 1)))].slice(0, 8);
  const kernels = [...new Set(members.flatMap((node) => graph.kernel[node]))];
  return [
    element("h2", {}, folding.title[group]),
    element("p", { className: "muted" }, folding.note[group]),
    unfold,
    ...section("Source", ...sourceLines(data, places)),
    ...(kernels.length ? section("Kernels", links(kernels.map((k) => [graph.kernels[k].title, graph.kernels[k].note,
      () => doors.showKernel(k)]))) : []),
    ...section(`${members.length} nodes`, links(members.map((node) => [graph.text[node], data.types[graph.type[node]],
      () => doors.goTo(node)]))),
  ];
}

/** The kernels as a table, and the code of one of them. */
function kernelDetails(graph, chosen, doors) {
  if (!graph.kernels.length) {
    return [element("p", { className: "muted" }, "This graph is as it was before the compiler made kernels of it. " +
      "Choose one after optimisation.")];
  }
  const measured = graph.kernels.some((kernel) => kernel.seconds !== null);
  const head = ["kernel", "moves", "flops", ...(measured ? ["time"] : [])];
  const table = element("table", {}, element("tr", {}, ...head.map((name, k) => element("th",
    { className: k ? "number" : "" }, name))));
  graph.kernels.forEach((kernel, k) => {
    const cells = [inBytes(kernel.bytes), inFlops(kernel.flops), ...(measured ? [inSeconds(kernel.seconds)] : [])];
    const row = element("tr", { className: "pick", tabIndex: 0, selected: k === chosen },
      element("td", {}, kernel.title, element("div", { className: "muted" }, kernel.note)),
      ...cells.map((cell) => element("td", { className: "number" }, cell ?? "")));
    row.addEventListener("click", () => doors.showKernel(k));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") doors.showKernel(k);
    });
    table.append(row);
  });
  if (chosen < 0) return [table, element("p", { className: "muted" }, "Choose a kernel to see its code and its nodes.")];
  return [table, ...section(`Code of ${graph.kernels[chosen].title}`, element("pre", {}, graph.kernels[chosen].code))];
}

function aboutDetails(data, graph) {
  return [
    element("h2", {}, data.title),
    element("pre", { className: "wrap" }, data.formula),
    pairs(data.about),
    element("h3", {}, graph.title),
    element("p", {}, graph.note),
  ];
}
