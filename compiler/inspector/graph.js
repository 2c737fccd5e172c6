// One station of the data as arrays, and what of it is to be seen: folded groups, and the neighbourhood of a node.

/** The lists in `rows` one after another: list k is flat[start[k] .. start[k + 1]]. */
function flattened(rows) {
  const start = new Int32Array(rows.length + 1);
  for (let k = 0; k < rows.length; k++) start[k + 1] = start[k] + rows[k].length;
  const flat = new Int32Array(start[rows.length]);
  let at = 0;
  for (const row of rows) for (const value of row) flat[at++] = value;
  return { start, flat };
}

const HOLE = "∙"; // stands for an argument that was computed

/** Whether a text is one call, f(...), as a whole. */
function isCall(text) {
  const start = text.indexOf("(");
  if (start < 1 || !/^\w+$/.test(text.slice(0, start)) || !text.endsWith(")")) return false;
  let depth = 0;
  for (let k = start; k < text.length - 1; k++) {
    if (text[k] === "(") depth++;
    else if (text[k] === ")" && --depth === 0) return false;
  }
  return true;
}

class Graph {
  constructor(station) {
    Object.assign(this, station);
    this.count = station.label.length;
    this.into = flattened(station.args);
    this.uses = this.users();
    this.isOutput = new Uint8Array(this.count);
    for (const node of station.outputs) this.isOutput[node] = 1;
  }

  /** For each node the nodes that it is an argument of, each once. */
  users() {
    const rows = Array.from({ length: this.count }, () => []);
    this.args.forEach((args, node) => {
      for (const arg of args) if (rows[arg][rows[arg].length - 1] !== node) rows[arg].push(node);
    });
    return flattened(rows);
  }

  /** The formula of a node, of which about `most` operations are written out; "…" stands for the rest. */
  formula(node, most = 40) {
    const opened = new Set([node]);
    let frontier = [node];
    while (frontier.length && opened.size < most) {
      const next = [];
      for (const one of frontier) {
        for (const arg of this.args[one]) {
          if (opened.size >= most || opened.has(arg) || !this.args[arg].length) continue;
          opened.add(arg);
          next.push(arg);
        }
      }
      frontier = next;
    }
    const texts = new Map();
    for (const one of [...opened].sort((a, b) => a - b)) texts.set(one, this.filled(one, texts));
    return texts.get(node);
  }

  /** A node's text with those of its arguments in its holes; all others stand in it by name. */
  filled(node, texts) {
    const computed = this.args[node].filter((arg) => this.args[arg].length);
    const parts = this.text[node].split(HOLE);
    let text = parts[0];
    for (let k = 1; k < parts.length; k++) {
      let inner = texts.get(computed[k - 1]) ?? "…";
      if (inner.length > 400) inner = "…";
      const enclosed = /[(,] ?$|^$/.test(parts[k - 1]) && /^[),]/.test(parts[k]);
      text += (inner.includes(" ") && !enclosed && !isCall(inner) ? `(${inner})` : inner) + parts[k];
    }
    return text;
  }

  neighbours(node, list) {
    return list.flat.subarray(list.start[node], list.start[node + 1]);
  }

  /** Numbers that stand in their users' labels are not drawn as nodes of their own. */
  inlined(node) {
    return this.inline[node] && !this.isOutput[node];
  }

  /** The nodes at most `steps` edges away from one, by any direction; 1 where they are. */
  around(node, steps) {
    const found = new Uint8Array(this.count);
    found[node] = 1;
    let frontier = [node];
    for (let step = 0; step < steps && frontier.length; step++) {
      const next = [];
      for (const one of frontier) {
        for (const list of [this.into, this.uses]) {
          for (const other of this.neighbours(one, list)) {
            if (found[other] || this.inlined(other)) continue;
            found[other] = 1;
            next.push(other);
          }
        }
      }
      frontier = next;
    }
    return found;
  }
}

/** The groups of one way to fold: those with one member are none. */
class Folding {
  constructor(groups, count) {
    this.title = groups ? groups.title : [];
    this.note = groups ? groups.note : [];
    this.parent = groups ? groups.parent : [];
    this.together = groups ? groups.together : [];
    this.of = groups ? groups.of : new Array(count).fill(-1);
    this.opened = new Set();
  }

  /** For each group the outermost one around it, or itself, that is closed; -1 where all are open. */
  closed() {
    const found = new Int32Array(this.title.length);
    for (let group = 0; group < found.length; group++) { // a parent stands before its children
      const parent = this.parent[group];
      const outer = parent < 0 ? -1 : found[parent];
      found[group] = outer >= 0 ? outer : this.opened.has(group) ? -1 : group;
    }
    return found;
  }

  /** The groups that are opened and closed with one: the other parts of a block that is repeated. */
  siblings(group) {
    if (!this.together[group] || this.parent[group] < 0) return [group];
    return this.parent.flatMap((parent, k) => (parent === this.parent[group] && this.together[k] ? [k] : []));
  }

  openAll() {
    this.title.forEach((_, group) => this.opened.add(group));
  }

  /** Opens what hides a node. */
  reveal(node) {
    for (let group = this.of[node]; group >= 0; group = this.parent[group]) {
      for (const one of this.siblings(group)) this.opened.add(one);
    }
  }

  path(node) {
    const path = [];
    for (let group = this.of[node]; group >= 0; group = this.parent[group]) path.unshift(group);
    return path;
  }
}

/**
 * What is to be drawn: items, each a node or a closed group, and the edges between them.
 * `itemOf` leads from nodes to items, -1 where a node is not shown. A group `loops` if it uses results of its own.
 */
function shown(graph, folding, within) {
  const closed = folding.closed();
  const itemOf = new Int32Array(graph.count).fill(-1);
  const items = [];
  const byGroup = new Map();
  for (let node = 0; node < graph.count; node++) {
    if (graph.inlined(node) || (within && !within[node])) continue;
    const leaf = folding.of[node];
    const group = leaf < 0 ? -1 : closed[leaf];
    if (group < 0) {
      itemOf[node] = items.length;
      const rank = graph.args[node].length ? node : node - graph.count; // what comes from outside stands first
      items.push({ node, group: -1, members: 1, rank, kernels: graph.kernel[node] });
      continue;
    }
    let item = byGroup.get(group);
    if (item === undefined) {
      item = items.length;
      byGroup.set(group, item);
      items.push({ node, group, members: 0, rank: 0, output: false, loops: false, kernels: [] });
    }
    itemOf[node] = item;
    items[item].members++;
    items[item].rank += node;
    items[item].output ||= graph.isOutput[node] === 1;
    for (const kernel of graph.kernel[node]) if (!items[item].kernels.includes(kernel)) items[item].kernels.push(kernel);
  }
  for (const item of items) {
    if (item.group < 0) continue;
    item.rank /= item.members;
    if (item.members === 1) item.group = -1;
  }
  const edges = { from: [], to: [] };
  const known = new Set();
  for (let node = 0; node < graph.count; node++) {
    const to = itemOf[node];
    if (to < 0) continue;
    for (const arg of graph.neighbours(node, graph.into)) {
      const from = itemOf[arg];
      if (from < 0) continue;
      if (from === to) {
        items[to].loops = true;
        continue;
      }
      const key = from * items.length + to;
      if (known.has(key)) continue;
      known.add(key);
      edges.from.push(from);
      edges.to.push(to);
    }
  }
  return { items, itemOf, edges };
}
