// The picture: boxes and edges on a canvas, the camera, and the small map of the whole.

const BOX = 40; // the height of a box
const READABLE = 0.46; // the zoom from which texts are drawn
const LEAST_ZOOM = 0.004, MOST_ZOOM = 4;
const MANY = 1500; // boxes that take longer than a frame
const SETTLE = 120; // milliseconds without motion after which everything is drawn anew
const FONT = 'ui-monospace, Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace';

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

class Picture {
  /** `picked(item)`, `opened(item)` are called with items that are clicked and double-clicked, -1 for none. */
  constructor(canvas, map, picked, opened) {
    Object.assign(this, { canvas, map, picked, opened });
    this.mapPen = map.getContext("2d");
    this.camera = { x: 0, y: 0, zoom: 1 };
    this.items = [];
    this.selected = this.hover = -1;
    this.matches = new Set();
    this.lit = null; // items that stand out while all others are faint
    this.dirty = false;
    this.moving = this.fitted = null;
    this.moved = -Infinity;
    this.still = null;
    this.sharp = false; // whether everything is painted, and not a picture of it moved
    this.pens = {};
    new ResizeObserver(() => this.resize()).observe(canvas);
    listen(this);
  }

  /** Show other items; `scene` has items, x, y, bends, rows, layer, bounds and edges. */
  show(scene) {
    Object.assign(this, scene);
    this.selected = this.hover = -1;
    this.near = { into: buckets(this.items.length, this.edges.to), outOf: buckets(this.items.length, this.edges.from) };
    this.edgeBoxes();
    this.paintMap();
    this.redraw();
  }

  /** Where edges reach, so that those out of sight cost nothing. */
  edgeBoxes() {
    const { from, to } = this.edges;
    this.reach = new Float32Array(4 * from.length);
    for (let k = 0; k < from.length; k++) {
      let left = Math.min(this.x[from[k]], this.x[to[k]]), right = Math.max(this.x[from[k]], this.x[to[k]]);
      for (let j = 0; j < this.bends[k].length; j += 2) {
        left = Math.min(left, this.bends[k][j]);
        right = Math.max(right, this.bends[k][j]);
      }
      this.reach.set([left, Math.min(this.y[from[k]], this.y[to[k]]), right,
        Math.max(this.y[from[k]], this.y[to[k]])], 4 * k);
    }
  }

  resize() {
    const scale = window.devicePixelRatio || 1;
    for (const one of [this.canvas, this.map]) {
      one.width = Math.max(1, Math.round(one.clientWidth * scale));
      one.height = Math.max(1, Math.round(one.clientHeight * scale));
    }
    this.scale = scale;
    if (this.items.length) this.paintMap();
    if (this.fitted !== null && this.items.length) this.fit(this.fitted);
    this.redraw();
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return this.canvas.clientHeight; }

  // the camera

  /** The whole graph; with `readable`, its first part where texts could not be read in the whole. */
  fit(readable = false) {
    this.moving = null;
    this.fitted = readable; // until the camera is moved it follows the size of the window
    const { left, right, top, bottom } = this.bounds;
    const wide = right - left + 60, high = bottom - top + BOX + 40;
    let zoom = Math.max(LEAST_ZOOM, Math.min(this.width / wide, this.height / high, 1.25));
    if (readable && zoom < READABLE) {
      zoom = this.items.length > MANY ? Math.max(zoom, this.width / wide) : Math.min(0.8, Math.max(0.6, this.width / wide));
    }
    const cut = high * zoom > this.height + 1; // then its beginning is shown
    const start = cut && wide * zoom > this.width ? mean(this.rows[0].map((item) => this.x[item])) : (left + right) / 2;
    this.camera = { x: start, y: cut ? top - BOX / 2 - 20 + this.height / zoom / 2 : (top + bottom) / 2, zoom };
    this.redraw(true);
  }

  zoomAt(factor, sx = this.width / 2, sy = this.height / 2) {
    this.moving = this.fitted = null;
    const { camera } = this;
    const zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, camera.zoom * factor));
    const [dx, dy] = [sx - this.width / 2, sy - this.height / 2];
    camera.x += dx / camera.zoom - dx / zoom;
    camera.y += dy / camera.zoom - dy / zoom;
    camera.zoom = zoom;
    this.redraw(true);
  }

  pan(dx, dy) {
    this.moving = this.fitted = null;
    this.camera.x -= dx / this.camera.zoom;
    this.camera.y -= dy / this.camera.zoom;
    this.redraw(true);
  }

  /** Moves to an item, near enough to read it; at once where less motion is asked for. */
  goTo(item) {
    this.fitted = null;
    const goal = { x: this.x[item], y: this.y[item], zoom: Math.max(this.camera.zoom, 0.75) };
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.camera = goal;
    else this.moving = { from: { ...this.camera }, goal, start: performance.now() };
    this.redraw(true);
  }

  step(now) {
    if (!this.moving) return;
    const { from, goal, start } = this.moving;
    const part = Math.min(1, Math.max(0, now - start) / 220);
    const eased = part * (2 - part);
    for (const key of ["x", "y"]) this.camera[key] = from[key] + (goal[key] - from[key]) * eased;
    this.camera.zoom = from.zoom * (goal.zoom / from.zoom) ** eased;
    if (part === 1) this.moving = null;
    else this.redraw(true);
  }

  toScreen(item) {
    const { x, y, zoom } = this.camera;
    return [(this.x[item] - x) * zoom + this.width / 2, (this.y[item] - y) * zoom + this.height / 2];
  }

  /** The item at a place of the canvas, or -1. */
  at(sx, sy) {
    const { camera } = this;
    const x = (sx - this.width / 2) / camera.zoom + camera.x;
    const y = (sy - this.height / 2) / camera.zoom + camera.y;
    const slack = Math.max(0, 10 / camera.zoom - BOX / 2); // small boxes are met by a finger as well
    const row = Math.round(y / PITCH);
    if (Math.abs(y - row * PITCH) > BOX / 2 + slack) return -1;
    let best = -1, least = Infinity;
    for (const item of this.rows[row] || []) {
      const away = Math.abs(x - this.x[item]) - this.items[item].width / 2;
      if (away < least) [best, least] = [item, away];
    }
    return least <= slack ? best : -1;
  }

  // drawing

  /** Paints with the next frame; `moved` says that nothing but the camera has changed. */
  redraw(moved = false) {
    if (moved) this.moved = performance.now();
    else this.still = null;
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame((now) => {
      this.dirty = false;
      this.step(now);
      this.paint();
    });
  }

  /** Colours as the style sheet names them, read again after the theme changes. */
  readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["back", "panel", "ink", "soft", "line", "accent", "node", "edge", "focus", "match", "input",
      "constant", "forward", "backward", "group", "output", "cold", "hot"]) {
      this.pens[name] = style.getPropertyValue(`--${name}`).trim();
    }
    if (this.items.length) this.paintMap();
    this.redraw();
  }

  paint() {
    const sight = this.sight(this.width, this.height);
    clearTimeout(this.waiting);
    if (this.items.length > MANY && performance.now() - this.moved < SETTLE) {
      if (!this.paintMoved(sight)) {
        this.keepStill();
        this.paintMoved(sight);
      }
      this.waiting = setTimeout(() => {
        this.redraw(true);
        this.moved = -Infinity; // this time everything is painted
      }, SETTLE);
      this.sharp = false;
    } else {
      this.sharp = true;
      this.paintScene(this.canvas.getContext("2d"), this.scale, sight);
      if (this.items.length > MANY) this.waiting = setTimeout(() => this.keepStill(), SETTLE);
    }
    this.paintFrame(sight);
  }

  sight(width, height) {
    const { x, y, zoom } = this.camera;
    return { left: x - width / zoom / 2, right: x + width / zoom / 2, top: y - height / zoom / 2, bottom: y + height / zoom / 2 };
  }

  /** All that lies in sight, on the canvas of `pen`. */
  paintScene(pen, scale, sight) {
    const zoom = this.camera.zoom * scale;
    this.pen = pen;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = this.pens.back;
    pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
    pen.setTransform(zoom, 0, 0, zoom, -sight.left * zoom, -sight.top * zoom);
    this.paintEdges(sight);
    this.paintBoxes(sight);
  }

  /** Keeps a picture of what is in sight, and as much again on every side, to be moved while the camera moves. */
  keepStill() {
    const sight = this.sight(2 * this.width, 2 * this.height);
    const still = new OffscreenCanvas(Math.max(1, 2 * this.width), Math.max(1, 2 * this.height));
    this.paintScene(still.getContext("2d"), 1, sight);
    this.still = { image: still.transferToImageBitmap(), sight, zoom: this.camera.zoom };
  }

  /** Many boxes take longer than a frame: while the camera moves, the last still picture is moved. Whether it fits. */
  paintMoved(sight) {
    const { still, canvas } = this;
    const zoom = this.camera.zoom * this.scale;
    if (!still || this.camera.zoom > 3 * still.zoom) return false;
    const { left, right, top, bottom } = still.sight;
    if (left > sight.left || right < sight.right || top > sight.top || bottom < sight.bottom) return false;
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = this.pens.back;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(still.image, (left - sight.left) * zoom, (top - sight.top) * zoom, (right - left) * zoom, (bottom - top) * zoom);
    return true;
  }

  paintEdges(sight) {
    const { pen, camera, reach, pens } = this;
    const { from } = this.edges;
    const simple = camera.zoom < 0.2;
    // A hairline of less than a pixel is drawn as a fainter one: that is as good to see, and much quicker.
    pen.lineWidth = Math.max(1.2, 0.7 / camera.zoom);
    pen.strokeStyle = pens.edge;
    pen.globalAlpha = (this.lit ? 0.15 : 1) * (simple ? Math.max(0.25, Math.min(0.8, 6 * camera.zoom)) : 0.75);
    pen.beginPath();
    const shortest = 1.5 / camera.zoom;
    for (let k = 0; k < from.length; k++) {
      const j = 4 * k;
      if (reach[j] > sight.right || reach[j + 1] > sight.bottom) continue;
      if (reach[j + 2] < sight.left || reach[j + 3] < sight.top) continue;
      if (reach[j + 2] - reach[j] + reach[j + 3] - reach[j + 1] < shortest) continue;
      this.trace(k, simple);
    }
    pen.stroke();
    pen.globalAlpha = 1;
    if (this.selected >= 0 && this.selected < this.items.length) {
      for (const [edges, colour] of [[this.near.into[this.selected], pens.input], [this.near.outOf[this.selected], pens.focus]]) {
        pen.lineWidth = Math.max(2.2, 1.4 / camera.zoom);
        pen.strokeStyle = colour;
        pen.beginPath();
        for (const k of edges) this.trace(k, simple);
        pen.stroke();
      }
    }
  }

  trace(k, simple) {
    const { pen, x, y } = this;
    const tail = this.edges.from[k], head = this.edges.to[k];
    const down = y[tail] <= y[head] ? 1 : -1;
    const points = this.bends[k];
    let px = x[tail], py = y[tail] + (down * BOX) / 2;
    const end = y[head] - (down * BOX) / 2;
    pen.moveTo(px, py);
    if (simple) {
      const bottom = points.length > 4 ? points.length - 2 : 0; // straight but for its ends
      if (bottom) {
        pen.lineTo(points[0], points[1]);
        pen.lineTo(points[bottom], points[bottom + 1]);
      }
      pen.lineTo(x[head], end);
      return;
    }
    for (let j = 0; j <= points.length; j += 2) {
      const last = j === points.length;
      const nx = last ? x[head] : points[j], ny = last ? end : points[j + 1];
      const middle = (py + ny) / 2;
      pen.bezierCurveTo(px, middle, nx, middle, nx, ny);
      [px, py] = [nx, ny];
    }
    if (this.camera.zoom > 0.3) {
      pen.moveTo(px - 3.5, py - down * 6);
      pen.lineTo(px, py);
      pen.lineTo(px + 3.5, py - down * 6);
    }
  }

  paintBoxes(sight) {
    const { pen, camera, pens } = this;
    const readable = camera.zoom >= READABLE;
    const byColour = new Map();
    const inSight = [];
    for (let item = 0; item < this.items.length; item++) {
      const half = this.items[item].width / 2;
      if (this.x[item] - half > sight.right || this.x[item] + half < sight.left) continue;
      if (this.y[item] - BOX > sight.bottom || this.y[item] + BOX < sight.top) continue;
      inSight.push(item);
      if (readable) continue;
      const key = this.items[item].colour + (this.faint(item) ? " faint" : "");
      const list = byColour.get(key);
      if (list) list.push(item);
      else byColour.set(key, [item]);
    }
    if (readable) {
      for (const item of inSight) this.paintBox(item);
      return;
    }
    const least = 1.4 / camera.zoom; // nothing becomes too small to be seen
    for (const list of byColour.values()) {
      pen.globalAlpha = this.faint(list[0]) ? 0.15 : 1;
      pen.fillStyle = this.paintOf(list[0]);
      for (const item of list) {
        const width = Math.max(this.items[item].width, least), height = Math.max(BOX, least);
        pen.fillRect(this.x[item] - width / 2, this.y[item] - height / 2, width, height);
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = pens.match;
    for (const item of this.matches) this.mark(item, Math.max(BOX, 7 / camera.zoom));
    if (this.selected >= 0) {
      pen.fillStyle = pens.focus;
      this.mark(this.selected, Math.max(BOX, 10 / camera.zoom));
    }
  }

  mark(item, size) {
    const width = Math.max(size, this.items[item].width);
    this.pen.fillRect(this.x[item] - width / 2, this.y[item] - size / 2, width, size);
  }

  faint(item) {
    return this.lit !== null && !this.lit.has(item);
  }

  paintOf(item) {
    const { colour } = this.items[item];
    return this.pens[colour] || colour;
  }

  paintBox(item) {
    const { pen, camera, pens } = this;
    const box = this.items[item];
    const left = this.x[item] - box.width / 2, top = this.y[item] - BOX / 2;
    const colour = this.paintOf(item);
    pen.globalAlpha = this.faint(item) ? 0.25 : 1;
    if (box.group >= 0) this.outline(left + 5, top + 5, box.width, BOX, pens.node, colour, 1.2); // a stack
    const chosen = item === this.selected;
    this.outline(left, top, box.width, BOX, pens.node, chosen ? pens.focus : this.matches.has(item) ? pens.match : colour,
      chosen || this.matches.has(item) ? 3.5 : item === this.hover || box.output ? 2.6 : 1.3, box.round);
    pen.fillStyle = colour;
    if (box.round) {
      pen.beginPath();
      pen.arc(left + 13, top + 13, 4.5, 0, 7);
      pen.fill();
    } else {
      pen.fillRect(left + 1, top + 4, 5, BOX - 8);
    }
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillStyle = pens.ink;
    pen.font = `600 12px ${FONT}`;
    pen.fillText(box.title, left + (box.round ? 23 : 12), top + 13);
    pen.fillStyle = pens.soft;
    pen.font = `10px ${FONT}`;
    pen.fillText(box.note, left + 12, top + 29);
    if (box.repeats) pen.fillText("↻", left + box.width - 15, top + 13);
    pen.globalAlpha = 1;
  }

  outline(left, top, width, height, fill, line, thick, round) {
    const { pen } = this;
    pen.beginPath();
    pen.roundRect(left, top, width, height, round ? 18 : 6);
    pen.fillStyle = fill;
    pen.fill();
    pen.lineWidth = thick;
    pen.strokeStyle = line;
    pen.stroke();
  }

  // the map

  mapScale() {
    const { left, right, top, bottom } = this.bounds;
    const wide = right - left + 100, high = bottom - top + 100;
    const zoom = Math.min(this.map.width / wide, this.map.height / high);
    return { zoom, x: (left + right) / 2, y: (top + bottom) / 2 };
  }

  /** The whole graph, once; frames are put on a copy of it. */
  paintMap() {
    const { map } = this;
    if (!map.clientWidth) return;
    this.whole = new OffscreenCanvas(map.width, map.height);
    const pen = this.whole.getContext("2d");
    const { zoom, x, y } = this.mapScale();
    pen.translate(map.width / 2, map.height / 2);
    pen.scale(zoom, zoom);
    pen.translate(-x, -y);
    const least = 1.5 / zoom;
    for (let item = 0; item < this.items.length; item++) {
      const width = Math.max(least, this.items[item].width), height = Math.max(least, BOX);
      pen.fillStyle = this.paintOf(item);
      pen.fillRect(this.x[item] - width / 2, this.y[item] - height / 2, width, height);
    }
  }

  paintFrame(sight) {
    const { map, mapPen, pens, bounds } = this;
    const all = sight.left <= bounds.left && sight.right >= bounds.right && sight.top <= bounds.top && sight.bottom >= bounds.bottom;
    map.style.visibility = all ? "hidden" : "visible";
    if (all || !map.clientWidth || !this.whole) return;
    const { zoom, x, y } = this.mapScale();
    mapPen.clearRect(0, 0, map.width, map.height);
    mapPen.drawImage(this.whole, 0, 0);
    mapPen.strokeStyle = pens.focus;
    mapPen.lineWidth = 1.5 * this.scale;
    mapPen.strokeRect((sight.left - x) * zoom + map.width / 2, (sight.top - y) * zoom + map.height / 2,
      (sight.right - sight.left) * zoom, (sight.bottom - sight.top) * zoom);
  }
}
