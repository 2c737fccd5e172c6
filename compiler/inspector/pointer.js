// What mouse, fingers and wheel do to the picture.

function listen(picture) {
  const { canvas, map } = picture;
  const fingers = new Map();
  let moved = 0, lastTap = { item: -2, time: 0 };
  const spread = () => {
    const [a, b] = fingers.values();
    return { size: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) {
      const item = picture.at(event.offsetX, event.offsetY);
      canvas.style.cursor = item < 0 ? "grab" : "pointer";
      if (item !== picture.hover) {
        picture.hover = item;
        picture.redraw();
      }
      return;
    }
    if (fingers.size === 2) {
      const old = spread();
      Object.assign(finger, { x: event.offsetX, y: event.offsetY });
      const now = spread();
      picture.pan(now.x - old.x, now.y - old.y);
      picture.zoomAt(now.size / Math.max(1, old.size), now.x, now.y);
      moved = Infinity;
      return;
    }
    const [dx, dy] = [event.offsetX - finger.x, event.offsetY - finger.y];
    moved += Math.abs(dx) + Math.abs(dy);
    Object.assign(finger, { x: event.offsetX, y: event.offsetY });
    if (moved > 4) picture.pan(dx, dy);
  });
  const release = (event) => {
    if (!fingers.delete(event.pointerId) || fingers.size || event.type === "pointercancel" || moved > 4) return;
    const item = picture.at(event.offsetX, event.offsetY);
    const twice = item === lastTap.item && event.timeStamp - lastTap.time < 350;
    lastTap = { item: twice ? -2 : item, time: event.timeStamp };
    if (twice && item >= 0) picture.opened(item);
    else picture.picked(item);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1; // lines or pixels
    picture.zoomAt(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016)), event.offsetX, event.offsetY);
  }, { passive: false });
  const jump = (event) => {
    if (!event.buttons) return;
    const { zoom, x, y } = picture.mapScale();
    picture.moving = picture.fitted = null;
    picture.camera.x = (event.offsetX * picture.scale - map.width / 2) / zoom + x;
    picture.camera.y = (event.offsetY * picture.scale - map.height / 2) / zoom + y;
    picture.redraw(true);
  };
  map.addEventListener("pointerdown", jump);
  map.addEventListener("pointermove", jump);
}
