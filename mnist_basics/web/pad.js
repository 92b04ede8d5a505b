// The pad: a sheet that remembers what was drawn on it, and views of it in which one draws. It knows nothing of
// Python, nor of programs that read digits: whoever wants to know what is drawn listens to the sheet.
// A drawing is {strokes, width, start}: strokes as in ink.js, at most as large as the sheet; how wide the pen is;
// and the image that one began with, 784 numbers from 0 to 255, or null.
const PENS = { min: 1.5, max: 4.5, step: 0.1 }; // pixels
const NEAR = 0.15; // pixels: a point this close to the one before it adds nothing

// What is drawn, what was there before, and what was taken back: one history for all views.
function newSheet() {
  const listeners = new Set();
  const [past, future] = [[], []];
  const sheet = { strokes: [], width: WIDTH, start: null, seen: null, penDown: false };
  const tell = () => listeners.forEach((listener) => listener(sheet));
  const now = () => ({ strokes: sheet.strokes, start: sheet.start });
  const change = (drawing) => {
    Object.assign(sheet, drawing);
    tell();
  };
  const remember = () => {
    past.push(now());
    future.length = 0;
  };
  const step = (from, to) => {
    if (sheet.penDown || !from.length) return;
    to.push(now());
    change(from.pop());
  };
  return Object.assign(sheet, {
    listen(listener) { // returns a function that ends the listening
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    drawing: () => ({ ...now(), width: sheet.width }),
    isEmpty: () => !sheet.strokes.length && !sheet.start,
    canUndo: () => past.length > 0,
    canRedo: () => future.length > 0,
    undo: () => step(past, future),
    redo: () => step(future, past),
    put({ strokes = [], start = null, width = sheet.width }) { // another drawing: one step that can be undone
      remember();
      change({ strokes, start, width });
    },
    clear: () => sheet.isEmpty() || sheet.penDown || sheet.put({}),
    setWidth: (width) => change({ width }),
    begin(point) { // a stroke: begin, extend as often as you like, finish
      remember();
      change({ strokes: [...sheet.strokes, [point]], penDown: true });
    },
    extend(points) {
      const [before, last] = [sheet.strokes.slice(0, -1), sheet.strokes.at(-1)];
      change({ strokes: [...before, [...last, ...points]] });
    },
    finish: () => change({ penDown: false }),
    show: (seen) => change({ seen }), // for a drawing with a `start`: what the program sees, 784 numbers, 0 to 1
  });
}

// The 784 numbers that a program gets, or null. (A drawing with a `start` is prepared by whoever reads it.)
function whatIsSeen(sheet) {
  if (sheet.start) return sheet.seen;
  return sheet.strokes.length ? prepareStrokes(sheet.strokes, sheet.width) : null;
}

function addElement(parent, tag, attributes = {}, text = "") {
  const child = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) child.setAttribute(name, value);
  child.textContent = text;
  return parent.appendChild(child);
}

// 784 numbers from 0 (paper) to 1 (ink), one pixel of the canvas for each.
function paintPixels(canvas, pixels) {
  const picture = new ImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    const grey = Math.round(255 * (1 - (pixels ? pixels[i] : 0)));
    picture.data.set([grey, grey, grey, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// As lines with round ends; a new one wherever the pressure changes.
function paintStrokes(context, strokes, width) {
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    let pressed = null;
    stroke.forEach(([x, y, pressure], n) => {
      const from = stroke[n - 1] ?? [x - 1e-3, y, pressure]; // a single point is a dot
      const mean = (from[2] + pressure) / 2;
      if (mean !== pressed) {
        if (n) context.stroke();
        context.beginPath();
        context.moveTo(from[0], from[1]);
        context.lineWidth = width * mean;
        pressed = mean;
      }
      context.lineTo(x, y);
    });
    context.stroke();
  }
}

// What one wrote, as fine as the screen is.
function paintSheet(canvas, sheet) {
  const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.setTransform(side / SIDE, 0, 0, side / SIDE, 0, 0);
  context.fillStyle = "white";
  context.fillRect(0, 0, SIDE, SIDE);
  if (sheet.start) {
    const small = document.createElement("canvas");
    small.width = small.height = SIDE;
    paintPixels(small, Array.from(sheet.start, (ink) => ink / 255));
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, SIDE, SIDE);
  }
  paintStrokes(context, sheet.strokes, sheet.width);
}

const PAD_HELP = "Draw with mouse, finger or pen; or with the arrow keys: Shift draws, Space dots.";
const PAD_LABEL = "Drawing pad, 28 by 28 pixels. Arrow keys move, Space inks a dot, Shift with arrows draws a line.";

function buildPad(el) {
  const pad = addElement(el, "div", { class: "digit-pad" });
  const top = addElement(pad, "div", { class: "digit-pad-top" });
  const wrote = addElement(top, "div", { class: "digit-pad-wrote" });
  const paper = addElement(wrote, "div", { class: "digit-pad-sheet" });
  const canvas = addElement(paper, "canvas", { tabindex: 0, role: "application", "aria-label": PAD_LABEL });
  const cursor = addElement(paper, "div", { class: "digit-pad-cursor" });
  addElement(wrote, "div", {}, "what you wrote");
  const sees = addElement(top, "div", { class: "digit-pad-sees" });
  const label = "The same, moved and scaled as MNIST's digits are, in 28 by 28 pixels.";
  const seen = addElement(sees, "canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": label });
  addElement(sees, "div", {}, "what the computer sees");
  const buttons = addElement(pad, "div", { class: "digit-pad-buttons" });
  const [undo, redo, clear] = ["Undo", "Redo", "Clear"].map((name) =>
    addElement(buttons, "button", { type: "button" }, name));
  const pen = addElement(buttons, "label", { class: "digit-pad-pen" }, "pen width ");
  const width = addElement(pen, "input", { type: "range", ...PENS, value: WIDTH });
  const status = addElement(pad, "div", { class: "digit-pad-status", role: "status" }, PAD_HELP);
  return { pad, paper, canvas, cursor, seen, undo, redo, clear, width, status };
}

// Keys that belong to the pad: a notebook would take arrows and plain letters for commands of its own (D, D deletes
// a cell). Whatever has Ctrl, Alt or ⌘ in it, Escape, Tab, F5 and Shift+Enter go on to the notebook and the browser.
function keepKeys(el) {
  const ours = /^(.|Arrow.*|Home|End|Page.*|Enter|Backspace|Delete)$/u;
  el.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey || event.altKey;
    const runs = event.key === "Enter" && event.shiftKey;
    if (!command && !runs && ours.test(event.key)) event.stopPropagation();
  });
}

// Undo and redo, wherever in the pad the focus is.
function listenToCommands(pad, undo, redo) {
  pad.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "z" && !event.shiftKey) undo();
    else if (key === "y" || key === "z") redo();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

const within = (value, most) => Math.min(most, Math.max(0, value));
const rounded = (value) => Math.round(1000 * value) / 1000;

// Where a pointer is, in pixels of the sheet, and how hard it presses: a pen 0.3 to 2, all others 1.
function spotOf(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * SIDE;
  const y = ((event.clientY - box.top) / box.height) * SIDE;
  const pressure = event.pointerType === "pen" ? Math.max(0.3, 2 * event.pressure) : 1;
  return [within(x, SIDE), within(y, SIDE), pressure].map(rounded);
}

// Of a pointer's spots those that are far enough from the one before.
function spotsApart(last, spots) {
  return spots.filter((spot) => {
    const apart = Math.hypot(spot[0] - last[0], spot[1] - last[1]) >= NEAR;
    if (apart) last = spot;
    return apart;
  });
}

function listenToPointer(canvas, sheet) {
  let pointer = null; // the one that draws; a second finger does not interfere
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || sheet.penDown) return;
    canvas.setPointerCapture(event.pointerId);
    pointer = event.pointerId;
    sheet.begin(spotOf(event, canvas));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const missed = event.getCoalescedEvents?.() ?? []; // between two frames
    const spots = (missed.length ? missed : [event]).map((one) => spotOf(one, canvas));
    const apart = spotsApart(sheet.strokes.at(-1).at(-1), spots);
    if (apart.length) sheet.extend(apart);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      sheet.finish();
    });
  }
}

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

// The arrows move a cursor from pixel to pixel, and with Shift they draw: as long as it is held, one stroke.
function listenToArrows({ canvas, cursor, status }, sheet) {
  let [column, row, drawing] = [14, 14, false];
  const spot = () => [column + 0.5, row + 0.5, 1];
  const finish = () => {
    if (drawing) sheet.finish();
    drawing = false;
  };
  const move = (key) => {
    const [right, down] = ARROWS[key];
    [column, row] = [within(column + right, SIDE - 1), within(row + down, SIDE - 1)];
    cursor.style.transform = `translate(${100 * column}%, ${100 * row}%)`;
  };
  const draw = (key) => {
    if (!drawing) sheet.begin(spot());
    drawing = true;
    move(key);
    sheet.extend([spot()]);
  };
  move("ArrowUp");
  canvas.addEventListener("keydown", (event) => {
    const [arrow, dot] = [event.key in ARROWS, event.key === " "];
    if (event.ctrlKey || event.metaKey || event.altKey || !(arrow || dot)) return;
    event.preventDefault();
    if (!event.shiftKey || dot) finish();
    if (sheet.penDown && !drawing) return; // a pointer draws
    if (dot) {
      sheet.begin(spot());
      sheet.finish();
    } else (event.shiftKey ? draw : move)(event.key);
    const ink = drawStrokes(sheet.strokes, sheet.width)[row * SIDE + column];
    status.textContent = `Row ${row + 1}, column ${column + 1}: ${Math.round(100 * ink)} % ink`;
  });
  canvas.addEventListener("keyup", (event) => event.key === "Shift" && finish());
  canvas.addEventListener("blur", finish);
  return finish;
}

// A view of the sheet in `el`. Returns a function that takes it away.
function createPad(el, sheet) {
  const parts = buildPad(el);
  const { pad, canvas, seen, undo, redo, clear, width, status } = parts;
  keepKeys(pad);
  listenToPointer(canvas, sheet);
  const finish = listenToArrows(parts, sheet);
  const after = (action) => () => {
    finish(); // a stroke with Shift, which one may still hold
    action();
    status.textContent = PAD_HELP;
  };
  listenToCommands(pad, after(sheet.undo), after(sheet.redo));
  undo.addEventListener("click", after(sheet.undo));
  redo.addEventListener("click", after(sheet.redo));
  clear.addEventListener("click", after(sheet.clear));
  width.addEventListener("input", () => sheet.setWidth(Number(width.value)));

  let frame = 0; // one painting for all that happens between two frames
  const paint = () => {
    frame = 0;
    paintSheet(canvas, sheet);
    paintPixels(seen, whatIsSeen(sheet));
    undo.setAttribute("aria-disabled", !sheet.canUndo());
    redo.setAttribute("aria-disabled", !sheet.canRedo());
    width.value = sheet.width;
  };
  const repaint = () => { frame ||= requestAnimationFrame(paint); };
  const deaf = sheet.listen(repaint);
  const sizes = new ResizeObserver(repaint);
  sizes.observe(canvas);
  window.addEventListener("resize", repaint); // zooming changes how fine the screen is
  repaint();
  return () => {
    deaf();
    sizes.disconnect();
    window.removeEventListener("resize", repaint);
    cancelAnimationFrame(frame);
    pad.remove();
  };
}
