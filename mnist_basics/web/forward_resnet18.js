// What the ResNet18 of notebook 11 needs besides forward.js; `mnist-basics page --resnet18` brings it along.

// The largest number under a window, which moves as a kernel does.
LAYERS.maxPool = ({ kernel, stride, padding, side }, input) => {
  const values = new Float64Array(input.channels * side * side).fill(-Infinity);
  values.forEach((_, i) => {
    const [c, row, col] = [Math.floor(i / (side * side)), Math.floor(i / side) % side, i % side];
    for (let y = row * stride - padding; y < row * stride - padding + kernel; y++) {
      for (let x = col * stride - padding; x < col * stride - padding + kernel; x++) {
        const inside = y >= 0 && y < input.side && x >= 0 && x < input.side;
        if (inside) values[i] = Math.max(values[i], input.values[(c * input.side + y) * input.side + x]);
      }
    }
  });
  return { values, channels: input.channels, side };
};

// The skip connection: what two convolutions make of the input is added to the input itself.
LAYERS.residual = ({ body, shortcut }, input) => {
  const [more, same] = [runLayers(body, input), runLayers(shortcut, input)];
  return relu({ ...more, values: more.values.map((value, i) => value + same.values[i]) });
};

// The mean of each channel.
LAYERS.meanPool = (_, { values, channels, side }) => {
  const means = new Float64Array(channels);
  values.forEach((value, i) => { means[Math.floor(i / (side * side))] += value / (side * side); });
  return asVector(means);
};

// Half the bytes: a sign, 5 bits for a power of 2, and 10 bits for what stands behind the point. Since there are only
// 65,536 such numbers, each one is worked out once.
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const [sign, power, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, (bits & 1023) / 1024];
  return sign * (power ? 2 ** (power - 15) * (1 + fraction) : 2 ** -14 * fraction);
});
NUMBERS.float16 = (bytes) => Float32Array.from(new Uint16Array(bytes.buffer), (bits) => HALVES[bits]);
