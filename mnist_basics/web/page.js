// The page that needs no Python: on the sheet of pad.js something changes, the rungs of forward.js are asked, and
// votes.js shows what they say. `models` is what `mnist-basics page` wrote into the page.
const models = unpack(document.getElementById("models").textContent);
const { rungs, neighbours } = models;
const highest = rungs.at(-1);

// For other programs, and for tests: ask the page without drawing. Pixels are 784 numbers from 0 to 1.
const mnistBasics = {
  prepare: prepareStrokes,
  logOdds: (pixels) => Object.fromEntries(rungs.map((rung) => [rung.name, logOdds(rung, pixels)])),
  digits: (pixels) => softmax(logits(models.digits, pixels)),
  verdict: (strokes, pixels) => {
    if (isTooShort(strokes)) return ["neither", "That is too little ink for a digit."];
    if (likeness(neighbours, pixels) < neighbours.least) {
      return ["neither", "No training image is much like it."];
    }
    return [logOdds(highest, pixels) > 0 ? "3" : "7", `So says the ${highest.name}.`];
  },
};
window.mnistBasics = mnistBasics;

function answerTo(strokes, width) {
  const pixels = mnistBasics.prepare(strokes, width);
  const [verdict, why] = mnistBasics.verdict(strokes, pixels);
  const odds = Object.entries(mnistBasics.logOdds(pixels));
  const votes = odds.map(([rung, value]) => ({ rung, p3: sigmoid(value) }));
  return { verdict, why, votes, digits: mnistBasics.digits(pixels) };
}

const [padPlace, votesPlace, ten] = ["pad", "votes", "ten"].map((id) => document.getElementById(id));
const sheet = newSheet();
createPad(padPlace, sheet);
const votes = createVotes(votesPlace, rungs);

let asked = 0; // one answer for all that happens between two frames
sheet.listen(() => {
  asked ||= requestAnimationFrame(() => {
    asked = 0;
    if (sheet.isEmpty()) votes.empty();
    else votes.show(answerTo(sheet.strokes, sheet.width));
  });
});

ten.addEventListener("click", () => {
  const shown = votesPlace.classList.toggle("with-ten");
  ten.setAttribute("aria-pressed", shown);
});
