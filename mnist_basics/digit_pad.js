// The pad of notebook 16, the front end of workshop/pad. It shares one value with Python: `image`, 28 × 28 bytes,
// 0 = paper, 255 = ink.
const SIDE = 28;
const CORE = 0.9; // pixels: up to this distance from the middle of a stroke, ink is full …
const EDGE = 1.8; // … and from here on, there is none (the same two numbers stand in `draw_strokes`)

function distanceToSegment(x, y, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length2 = dx * dx + dy * dy;
  const along = length2 ? ((x - a.x) * dx + (y - a.y) * dy) / length2 : 0;
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(x - a.x - t * dx, y - a.y - t * dy);
}

// A straight stroke from a to b; where there is more ink already, it stays.
function inkSegment(pixels, a, b, ink) {
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const distance = distanceToSegment(column + 0.5, row + 0.5, a, b);
      const share = Math.min(1, Math.max(0, (EDGE - distance) / (EDGE - CORE)));
      const i = row * SIDE + column;
      pixels[i] = Math.max(pixels[i], Math.floor(255 * ink * share + 0.5));
    }
  }
}

function paint(canvas, pixels) {
  const picture = new ImageData(SIDE, SIDE);
  pixels.forEach((ink, i) => picture.data.set([255 - ink, 255 - ink, 255 - ink, 255], 4 * i));
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function element(parent, tag, attributes = {}, text = "") {
  const child = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) child.setAttribute(name, value);
  child.textContent = text;
  return parent.appendChild(child);
}

const HELP = "Draw with mouse, finger or pen; or with the arrow keys: Shift draws, Space dots.";

function build(el) {
  // JupyterLab would take the keys for its own: Z, for one, takes back a deleted cell.
  const pad = element(el, "div", { class: "digit-pad", "data-lm-suppress-shortcuts": "true" });
  const sheet = element(pad, "div", { class: "digit-pad-sheet" });
  const canvas = element(sheet, "canvas", {
    width: SIDE, height: SIDE, tabindex: 0, role: "application", "aria-label":
      "Drawing pad, 28 by 28 pixels. Arrow keys move, Space inks a dot, Shift with an arrow draws a line.",
  });
  const cursor = element(sheet, "div", { class: "digit-pad-cursor" });
  const buttons = element(pad, "div", { class: "digit-pad-buttons" });
  const undo = element(buttons, "button", { type: "button" }, "Undo");
  const clear = element(buttons, "button", { type: "button" }, "Clear");
  const status = element(pad, "div", { class: "digit-pad-status", role: "status" }, HELP);
  const heard = element(pad, "div", { class: "digit-pad-heard", role: "status" }); // what Python says
  return { pad, canvas, cursor, undo, clear, status, heard };
}

function bytes(model) {
  const image = model.get("image"); // a DataView
  return new Uint8Array(image.buffer, image.byteOffset, image.byteLength).slice();
}

const differ = (a, b) => a.some((ink, i) => ink !== b[i]);

// What is on a pad, and what was there before: shared by all places on the page that show it.
const sheets = new WeakMap();

function render({ model, el }) {
  const { pad, canvas, cursor, undo, clear, status, heard } = build(el);
  const place = { row: 14, column: 14 }; // of the keyboard's cursor
  if (!sheets.has(model)) sheets.set(model, { pixels: bytes(model), past: [] });
  const sheet = sheets.get(model);
  let stroke = null; // while a pointer draws: which one, where it was, and the sheet before

  const show = () => {
    paint(canvas, sheet.pixels);
    cursor.style.transform = `translate(${place.column * 100}%, ${place.row * 100}%)`;
    undo.setAttribute("aria-disabled", sheet.past.length === 0);
  };
  const send = () => {
    show();
    model.set("image", new DataView(sheet.pixels.slice().buffer));
    model.save_changes();
  };
  const remember = (before) => { sheet.past = [...sheet.past.slice(-99), before]; };
  const takeBack = () => {
    if (stroke || !sheet.past.length) return;
    sheet.pixels = sheet.past.pop();
    status.textContent = HELP;
    send();
  };
  const wipe = () => {
    if (stroke || !sheet.pixels.some((ink) => ink)) return;
    remember(sheet.pixels);
    sheet.pixels = new Uint8Array(SIDE * SIDE);
    status.textContent = HELP;
    send();
  };
  // Python may put an image on the pad, too; but not under a hand that is drawing.
  const fromModel = () => {
    if (stroke) return;
    const image = bytes(model);
    if (differ(image, sheet.pixels)) {
      remember(sheet.pixels);
      sheet.pixels = image;
    }
    show();
  };

  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * SIDE,
      y: ((event.clientY - box.top) / box.height) * SIDE,
    };
  };
  const drawTo = (event) => {
    const ink = event.pointerType === "pen" ? Math.min(1, Math.max(0.1, 2 * event.pressure)) : 1;
    const to = spot(event);
    inkSegment(sheet.pixels, stroke.at, to, ink);
    stroke.at = to;
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stroke) return; // one finger draws; a second one does not interfere
    canvas.setPointerCapture(event.pointerId);
    stroke = { pointer: event.pointerId, at: spot(event), before: sheet.pixels.slice() };
    status.textContent = HELP;
    drawTo(event);
    send();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== stroke?.pointer) return;
    const missed = event.getCoalescedEvents?.() ?? [];
    (missed.length ? missed : [event]).forEach(drawTo);
    send();
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId !== stroke?.pointer) return;
      if (differ(stroke.before, sheet.pixels)) remember(stroke.before);
      stroke = null;
      fromModel();
    });
  }

  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const middle = () => ({ x: place.column + 0.5, y: place.row + 0.5 });
  const within = (i) => Math.min(SIDE - 1, Math.max(0, i));
  const draw = (start, again) => {
    const before = sheet.pixels.slice();
    inkSegment(sheet.pixels, start, middle(), 1);
    if (differ(before, sheet.pixels) && !again) remember(before);
    send();
  };
  const press = (event) => {
    const start = middle();
    const [down, right] = arrows[event.key] ?? [0, 0];
    place.row = within(place.row + down);
    place.column = within(place.column + right);
    if (event.shiftKey || event.key === " ") draw(start, event.repeat);
    else show();
    const ink = Math.round((100 * sheet.pixels[place.row * SIDE + place.column]) / 255);
    status.textContent = `Row ${place.row + 1}, column ${place.column + 1}: ${ink} % ink`;
  };
  pad.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const command = event.ctrlKey || event.metaKey;
    if (event.altKey || stroke) return;
    if (command && !event.shiftKey && event.key.toLowerCase() === "z") takeBack();
    else if (!command && event.target === canvas && (event.key in arrows || event.key === " ")) press(event);
    else return;
    event.preventDefault();
  });
  undo.addEventListener("click", takeBack);
  clear.addEventListener("click", wipe);

  const hear = (message) => {
    if (heard.textContent !== message.say) heard.textContent = message.say;
  };
  model.on("change:image", fromModel);
  model.on("msg:custom", hear);
  show();
  return () => {
    model.off("change:image", fromModel);
    model.off("msg:custom", hear);
  };
}

export default { render };
