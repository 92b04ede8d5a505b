// From strokes to the 28 × 28 pixels that a program sees: the same steps as in notebook 16, in Python.
// A stroke is a list of points [x, y, pressure], in pixels from the top left corner of a sheet of 28 × 28.
const SIDE = 28;
const WIDTH = 2.7; // pixels: how wide the pen's line is at a pressure of 1 …
const SOFT = 0.9; // … and over how many its edge fades
const TOO_SHORT = 2; // pixels of the pad: what is smaller is a speck, not a digit

// How much ink the line from a to b leaves at a point: 0 to 1.
function inkOfLine(x, y, a, b, width) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length2 = Math.max(dx * dx + dy * dy, 1e-12);
  const along = Math.min(1, Math.max(0, ((x - a[0]) * dx + (y - a[1]) * dy) / length2));
  const distance = Math.hypot(x - a[0] - along * dx, y - a[1] - along * dy);
  const reach = (width / 2) * (a[2] + along * (b[2] - a[2]));
  return Math.min(1, Math.max(0, (reach - distance) / SOFT + 0.5));
}

// The ink of all strokes where they lie: 784 numbers from 0 to 1, row by row.
function drawStrokes(strokes, width = WIDTH) {
  const image = new Float64Array(SIDE * SIDE);
  for (const stroke of strokes) {
    for (let n = 0; n < Math.max(1, stroke.length - 1); n++) {
      const [a, b] = [stroke[n], stroke[n + 1] ?? stroke[n]]; // a single point is a dot
      for (let i = 0; i < image.length; i++) {
        const [x, y] = [(i % SIDE) + 0.5, Math.floor(i / SIDE) + 0.5];
        image[i] = Math.max(image[i], inkOfLine(x, y, a, b, width));
      }
    }
  }
  return image;
}

// The smallest box around all points: [left, top, right, bottom].
function boxAround(strokes) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

const longerSide = ([left, top, right, bottom]) => Math.max(right - left, bottom - top);
const isTooShort = (strokes) => longerSide(boxAround(strokes)) < TOO_SHORT;

// The point on which the ink would balance.
function centreOfMass(image) {
  let [mass, x, y] = [0, 0, 0];
  image.forEach((ink, i) => {
    mass += ink;
    x += ink * ((i % SIDE) + 0.5);
    y += ink * (Math.floor(i / SIDE) + 0.5);
  });
  return [x / mass, y / mass];
}

// Strokes as MNIST's digits lie: 20 pixels long, the centre of mass on pixel (14, 14). The pen stays as wide.
function fitStrokes(strokes, width = WIDTH) {
  const [left, top, right, bottom] = boxAround(strokes);
  const longest = longerSide([left, top, right, bottom]);
  const scale = longest > 0 ? (20 - width - SOFT) / longest : 1;
  const to = (x, y) => ([px, py, pressure]) => [x + scale * px, y + scale * py, pressure];
  const place = (x, y) => strokes.map((stroke) => stroke.map(to(x, y)));
  const [x0, y0] = [14 - (scale * (left + right)) / 2, 14 - (scale * (top + bottom)) / 2];
  const shift = centreOfMass(drawStrokes(place(x0, y0), width)).map((c) => Math.min(4, Math.max(-4, 14.5 - c)));
  return place(x0 + shift[0], y0 + shift[1]);
}

const prepareStrokes = (strokes, width = WIDTH) => drawStrokes(fitStrokes(strokes, width), width);
