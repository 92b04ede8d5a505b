// The page that needs no Python: on the sheet of pad.js something changes, the rungs of forward.js are asked, and
// votes.js shows what they say. `models` is what `mnist-basics page` wrote into the page.
const models = unpack(document.getElementById("models").textContent);
const { rungs, neighbours } = models;

// For other programs, and for tests: ask the page without drawing. Pixels are 784 numbers from 0 to 1.
const mnistBasics = {
  prepare: prepareStrokes,
  logOdds: (pixels) => Object.fromEntries(rungs.map((rung) => [rung.name, logOdds(rung, pixels)])),
  digits: (pixels) => softmax(logits(models.digits, pixels)),
  verdict: (strokes, pixels, odds) => {
    if (isTooShort(strokes)) return ["neither", "That is too little ink for a digit."];
    if (likeness(neighbours, pixels) < neighbours.least) {
      return ["neither", "No training image is much like it."];
    }
    const [highest, above0] = Object.entries(odds).at(-1);
    return [above0 > 0 ? "3" : "7", `So says the ${highest}.`];
  },
};
window.mnistBasics = mnistBasics;

function answerTo(strokes, width) {
  const pixels = mnistBasics.prepare(strokes, width);
  const odds = mnistBasics.logOdds(pixels);
  const [verdict, why] = mnistBasics.verdict(strokes, pixels, odds);
  const votes = Object.entries(odds).map(([rung, value]) => ({ rung, p3: sigmoid(value) }));
  return { verdict, why, votes, digits: mnistBasics.digits(pixels) };
}

const [padPlace, votesPlace, ten] = ["pad", "votes", "ten"].map((id) => document.getElementById(id));
const sheet = newSheet();
createPad(padPlace, sheet);
const votes = createVotes(votesPlace, rungs);

function answer() {
  const start = performance.now();
  if (sheet.isEmpty()) votes.empty();
  else votes.show(answerTo(sheet.strokes, sheet.width));
  return performance.now() - start;
}

// At each change, once for all that happens at the same time. Where that takes long (a large net, a slow phone), it
// waits until the pen rests, so that the ink never does.
let [asked, took] = [0, 0];
sheet.listen(() => {
  clearTimeout(asked);
  asked = setTimeout(() => { took = answer(); }, took > 50 ? 200 : 0);
});

ten.addEventListener("click", () => {
  const shown = votesPlace.classList.toggle("with-ten");
  ten.setAttribute("aria-pressed", shown);
});
