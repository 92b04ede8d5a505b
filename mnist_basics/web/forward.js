// How the rungs of the ladder calculate: notebooks 02, 05, 07, 10, 12 and 16 once more, in plain JavaScript.
//
// What goes from layer to layer is {values, channels, side}: `channels` pictures of `side` × `side` numbers, one
// after the other, each row by row. A drawing is one picture of 28 × 28. Where a layer makes a list of numbers of
// it, each of them is a channel of its own, 1 × 1.

const asVector = (values) => ({ values, channels: values.length, side: 1 });

// Notebook 02: how much nearer the drawing is to the mean 3 than to the mean 7, pixel by pixel.
function similarity({ mean3, mean7, scale }, { values }) {
  const distance = (mean) => mean.reduce((sum, ink, i) => sum + Math.abs(ink - values[i]), 0) / mean.length;
  return asVector([scale * (distance(mean7) - distance(mean3))]);
}

// Notebook 05: each output is a weighted sum of all inputs, and a bias. `weight` has a row for each output.
function linear({ weight, bias }, { values }) {
  const outputs = Float64Array.from(bias);
  for (let o = 0, w = 0; o < outputs.length; o++) {
    let sum = 0;
    for (let i = 0; i < values.length; i++, w++) sum += weight[w] * values[i];
    outputs[o] += sum;
  }
  return asVector(outputs);
}

// Notebook 07: what is below 0 becomes 0.
function relu(input) {
  return { ...input, values: input.values.map((value) => Math.max(0, value)) };
}

// Notebook 10: what a kernel sees with its top left corner on the pixel (top, left), one channel after the other.
// Where it stands over the edge there is only padding, which is 0.
function windowAt(top, left, kernel, { values, channels, side }) {
  const seen = new Float64Array(channels * kernel * kernel);
  for (let c = 0, i = 0; c < channels; c++) {
    for (let row = top; row < top + kernel; row++) {
      for (let col = left; col < left + kernel; col++, i++) {
        const inside = row >= 0 && row < side && col >= 0 && col < side;
        if (inside) seen[i] = values[(c * side + row) * side + col];
      }
    }
  }
  return seen;
}

// A convolution is a linear layer that looks through a window. The window begins `padding` pixels outside of the image
// and moves by `stride`; each output becomes a picture of `side` × `side`.
function conv2d({ weight, bias, kernel, stride, padding, side }, input) {
  const values = new Float64Array(bias.length * side * side);
  for (let row = 0; row < side; row++) {
    for (let col = 0; col < side; col++) {
      const seen = windowAt(row * stride - padding, col * stride - padding, kernel, input);
      const outputs = linear({ weight, bias }, asVector(seen)).values;
      outputs.forEach((output, o) => { values[(o * side + row) * side + col] = output; });
    }
  }
  return { values, channels: bias.length, side };
}

// Batch normalisation (notebooks 11 and 12) is not here: once trained, it multiplies by one number and adds another,
// and Python has put both into the weights of the convolution before it.

// A net is a list of layers: what one gives is what the next one gets.
const LAYERS = { similarity, linear, relu: (_, input) => relu(input), conv2d };
const runLayers = (layers, input) => layers.reduce((x, layer) => LAYERS[layer.kind](layer, x), input);
const logits = (layers, pixels) => runLayers(layers, { values: pixels, channels: 1, side: 28 }).values;

// Notebook 15, one question for every rung: above 0 it is a 3. A net with two outputs has one for each digit.
function logOdds({ layers }, pixels) {
  const [three, seven = 0] = logits(layers, pixels);
  return three - seven;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Notebook 12: logits become probabilities, which add up to 1. (The largest is taken off, so that exp stays small.)
function softmax(numbers) {
  const most = Math.max(...numbers);
  const powers = [...numbers].map((x) => Math.exp(x - most));
  const total = powers.reduce((sum, power) => sum + power);
  return powers.map((power) => power / total);
}

// Notebook 16: the drawing from afar, as sums over blocks of 4 × 4 pixels, 7 × 7 of them …
function fromAfar(pixels) {
  const blocks = new Float64Array(49);
  pixels.forEach((ink, i) => {
    const [row, col] = [Math.floor(i / 28), i % 28];
    blocks[7 * Math.floor(row / 4) + Math.floor(col / 4)] += ink;
  });
  return blocks;
}

// … and how like it the most similar training image is: the largest cosine similarity, at most 1. `seen` has 49
// numbers for each training image. How long they are does not matter, only in which direction they point.
function likeness({ seen }, pixels) {
  const here = fromAfar(pixels);
  const length2 = here.reduce((sum, ink) => sum + ink * ink, 0);
  let most = 0;
  for (let start = 0; start < seen.length; start += 49) {
    let [product, theirs2] = [0, 0];
    for (let i = 0; i < 49; i++) {
      product += seen[start + i] * here[i];
      theirs2 += seen[start + i] * seen[start + i];
    }
    most = Math.max(most, product / Math.sqrt(theirs2 * length2));
  }
  return most;
}

// The weights arrive as text, {"float32": "…"} in base64: four bytes for each number.
const NUMBERS = { float32: (bytes) => new Float32Array(bytes.buffer), uint8: (bytes) => bytes };

function decode(kind, text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return NUMBERS[kind](bytes);
}

// What Python has written as JSON, with numbers in place of the texts.
function unpack(json) {
  return JSON.parse(json, (_, value) => {
    const kind = Object.keys(NUMBERS).find((name) => typeof value?.[name] === "string");
    return kind ? decode(kind, value[kind]) : value;
  });
}
