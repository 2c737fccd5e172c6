// A layered layout (Sugiyama, Tagawa and Toda 1981), in time that grows linearly with the graph: layers by longest
// paths, bounded in width; order by barycentres; coordinates by isotonic regression, which is the least movement from
// where the neighbours are that leaves no two boxes overlapping.

const GAP = 22; // between boxes of a layer
const LANE = 10; // what an edge needs that passes a layer
const PITCH = 78; // from layer to layer
const LARGE = 8000; // points from which fewer rounds must do

/**
 * Coordinates for boxes and bends for edges.
 * @param rank a number for each box, which grows along most edges; edges against it are taken as their reverse
 * @param width of each box
 * @param from,to the boxes that edges lead from and to
 */
function layOut(rank, width, from, to) {
  const count = rank.length;
  const before = (a, b) => rank[a] < rank[b] || (rank[a] === rank[b] && a < b);
  const low = from.map((tail, k) => (before(tail, to[k]) ? tail : to[k]));
  const high = from.map((tail, k) => (before(tail, to[k]) ? to[k] : tail));
  const order = Array.from({ length: count }, (_, k) => k).sort((a, b) => rank[a] - rank[b] || a - b);
  const layer = layers(count, order, low, high);
  const net = withBends(count, layer, width, low, high);
  const rows = ordered(net);
  const x = placed(net, rows);
  return finished(count, net, rows, x, from, low);
}

/** For each of `count` numbers the positions k where key[k] is it. */
function buckets(count, key) {
  const rows = Array.from({ length: count }, () => []);
  key.forEach((value, k) => rows[value].push(k));
  return rows;
}

/** The layer of each box: below all it depends on, and no layer wider than about a square picture wants. */
function layers(count, order, low, high) {
  const most = Math.max(16, Math.ceil(1.6 * Math.sqrt(count)));
  const into = buckets(count, high);
  const outOf = buckets(count, low);
  const layer = new Int32Array(count);
  const filled = [];
  const next = []; // a layer that is full leads to the one to try instead
  const free = (start) => {
    let at = start;
    while (next[at] !== undefined) at = next[at];
    for (let k = start; k !== at;) {
      const following = next[k];
      next[k] = at;
      k = following;
    }
    return at;
  };
  for (const box of order) {
    if (!into[box].length) continue;
    let least = 0;
    for (const edge of into[box]) if (into[low[edge]].length) least = Math.max(least, layer[low[edge]] + 1);
    const at = free(least);
    layer[box] = at;
    filled[at] = (filled[at] || 0) + 1;
    if (filled[at] >= most) next[at] = at + 1;
  }
  // Down again to its first user with all that has no more arguments than users: edges from few to many get longer then,
  // and those that are alone get short.
  for (let k = count - 1; k >= 0; k--) {
    const box = order[k];
    if (!into[box].length || !outOf[box].length || into[box].length > outOf[box].length) continue;
    let at = Infinity;
    for (const edge of outOf[box]) at = Math.min(at, layer[high[edge]] - 1);
    const from = layer[box];
    for (let tries = 0; tries < 20 && at > from && filled[at] >= most; tries++) at--;
    if (at <= from || filled[at] >= most) continue;
    filled[from]--;
    filled[at] = (filled[at] || 0) + 1;
    layer[box] = at;
  }
  // What depends on nothing stands right above its first user; the layers above the first one are counted down.
  const above = new Map();
  let top = 0;
  for (const box of order) {
    if (into[box].length) continue;
    let at = outOf[box].length ? Infinity : 0;
    for (const edge of outOf[box]) at = Math.min(at, layer[high[edge]] - 1);
    if (at < 0) {
      while ((above.get(at) || 0) >= most) at--;
      above.set(at, (above.get(at) || 0) + 1);
    }
    layer[box] = at;
    top = Math.min(top, at);
  }
  for (let box = 0; box < count; box++) layer[box] -= top;
  return layer;
}

/** Boxes, and points where long edges cross layers; edges that would need very many are drawn straight. */
function withBends(count, layer, width, low, high) {
  const at = Array.from(layer), wide = Array.from(width);
  const upper = [], lower = []; // the ends of each piece of an edge
  const bends = new Array(low.length);
  const span = (edge) => layer[high[edge]] - layer[low[edge]];
  let budget = 2 * count + 2000;
  for (const edge of low.map((_, k) => k).sort((a, b) => span(a) - span(b) || a - b)) {
    const points = [];
    const inner = span(edge) - 1;
    let last = low[edge];
    if (inner <= budget) {
      budget -= inner;
      for (let k = 0; k < inner; k++) {
        points.push(at.length);
        upper.push(last);
        lower.push(at.length);
        last = at.length;
        at.push(layer[low[edge]] + 1 + k);
        wide.push(LANE - GAP);
      }
      upper.push(last);
      lower.push(high[edge]);
    }
    bends[edge] = points;
  }
  const total = at.length;
  return { layer: at, width: Float64Array.from(wide), bends, up: linked(total, lower, upper), down: linked(total, upper, lower) };
}

/** For each of `count` points those that it is joined with: point k's are to[start[k]] .. to[start[k + 1] - 1]. */
function linked(count, from, to) {
  const start = new Int32Array(count + 1);
  for (const k of from) start[k + 1]++;
  for (let k = 0; k < count; k++) start[k + 1] += start[k];
  const next = start.slice();
  const list = new Int32Array(from.length);
  from.forEach((k, piece) => (list[next[k]++] = to[piece]));
  return { start, to: list };
}

/** The order within each layer: every box at the mean of its neighbours, from above, from below, and again. */
function ordered(net) {
  const rows = [];
  net.layer.forEach((at, k) => (rows[at] ||= []).push(k));
  for (let at = 0; at < rows.length; at++) rows[at] ||= [];
  const place = new Float64Array(net.layer.length), wanted = new Float64Array(net.layer.length);
  const settle = (row) => {
    for (let k = 0; k < row.length; k++) place[row[k]] = (k + 0.5) / row.length;
  };
  rows.forEach(settle);
  const compare = (a, b) => wanted[a] - wanted[b];
  const sweeps = net.layer.length > LARGE ? 4 : 10;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const { start, to } = sweep % 2 ? net.down : net.up;
    for (let k = 0; k < rows.length; k++) {
      const row = rows[sweep % 2 ? rows.length - 1 - k : k];
      for (const one of row) {
        let sum = 0;
        const end = start[one + 1];
        for (let j = start[one]; j < end; j++) sum += place[to[j]];
        wanted[one] = end > start[one] ? sum / (end - start[one]) : place[one];
      }
      row.sort(compare);
      settle(row);
    }
  }
  return rows;
}

/** Horizontal coordinates of the centres. */
function placed(net, rows) {
  const { width } = net;
  const x = new Float64Array(net.layer.length);
  for (const row of rows) {
    let at = 0;
    for (const k of row) {
      x[k] = at + width[k] / 2;
      at += width[k] + GAP;
    }
    for (const k of row) x[k] -= at / 2;
  }
  const longest = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const wanted = new Float64Array(longest), weight = new Float64Array(longest);
  const sweeps = net.layer.length > LARGE ? 6 : 14;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const sides = sweep >= sweeps - 2 ? [net.up, net.down] : [sweep % 2 ? net.down : net.up]; // in the end by both
    for (let j = 0; j < rows.length; j++) {
      const row = rows[sweep % 2 ? rows.length - 1 - j : j];
      for (let position = 0; position < row.length; position++) {
        const k = row[position];
        let sum = 0, total = 0;
        for (const { start, to } of sides) {
          for (let i = start[k]; i < start[k + 1]; i++) {
            const other = to[i];
            const pull = width[k] < 0 ? (width[other] < 0 ? 8 : 2) : width[other] < 0 ? 2 : 1; // long edges run straight
            sum += x[other] * pull;
            total += pull;
          }
        }
        wanted[position] = total ? sum / total : x[k];
        weight[position] = total ? Math.sqrt(total) : 0.1;
      }
      separate(row, wanted, weight, width, x);
    }
  }
  return x;
}

/** Moves a row's boxes as little as possible from where they want to be, in their order, without overlap. */
function separate(row, wanted, weight, width, x) {
  const count = row.length;
  const offset = new Float64Array(count); // with these taken off, boxes need only be in order
  for (let k = 1; k < count; k++) {
    offset[k] = offset[k - 1] + (width[row[k - 1]] + width[row[k]]) / 2 + GAP;
  }
  // Blocks of boxes that touch: where they stand, their weight, and the first of them.
  const at = new Float64Array(count), heavy = new Float64Array(count), first = new Int32Array(count + 1);
  let blocks = 0;
  for (let k = 0; k < count; k++) {
    at[blocks] = wanted[k] - offset[k];
    heavy[blocks] = weight[k];
    first[blocks] = k;
    while (blocks > 0 && at[blocks - 1] >= at[blocks]) {
      const total = heavy[blocks - 1] + heavy[blocks];
      at[blocks - 1] = (at[blocks - 1] * heavy[blocks - 1] + at[blocks] * heavy[blocks]) / total;
      heavy[--blocks] = total;
    }
    blocks++;
  }
  first[blocks] = count;
  for (let block = 0; block < blocks; block++) {
    for (let k = first[block]; k < first[block + 1]; k++) x[row[k]] = at[block] + offset[k];
  }
}

function finished(count, net, rows, x, from, low) {
  const y = new Float64Array(count);
  let left = Infinity, right = -Infinity;
  for (let k = 0; k < count; k++) {
    y[k] = net.layer[k] * PITCH;
    left = Math.min(left, x[k] - net.width[k] / 2);
    right = Math.max(right, x[k] + net.width[k] / 2);
  }
  const bends = net.bends.map((points, edge) => {
    const path = points.flatMap((p) => [x[p], net.layer[p] * PITCH]);
    if (from[edge] === low[edge]) return path;
    const turned = [];
    for (let k = path.length - 2; k >= 0; k -= 2) turned.push(path[k], path[k + 1]);
    return turned;
  });
  const boxes = rows.map((row) => row.filter((k) => k < count));
  const bottom = (rows.length - 1) * PITCH;
  return { x: x.subarray(0, count), y, bends, rows: boxes, layer: net.layer, bounds: { left, right, top: 0, bottom } };
}
