// What the programs say about a drawing: one answer first, then the votes, then the evidence.
// An answer is {verdict, why, votes: [{rung, p3}], digits, evidence, outline}; `verdict` is "3", "7" or "neither";
// `digits`, the probabilities of all ten digits, `evidence`, [{rung, parts: [{caption, alt, png, signed}]}], and
// `outline`, the path of the drawing's outline in an SVG of 28 × 28, may be missing: then they are not shown.
const WORDS = { 3: "3", 7: "7", neither: "hm: neither?", empty: "3 or 7?" };
const EMPTY_PAD = "The pad is empty: draw a 3 or a 7.";
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function setText(element, text) { // a screen reader would say the same words again
  if (element.textContent !== text) element.textContent = text;
}

function addSvgPath(parent) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
  svg.setAttribute("aria-hidden", "true");
  parent.appendChild(svg).appendChild(path);
  return path;
}

// A row for each rung: its name and accuracy, a bar, and how probable it thinks a 3 and a 7 are.
function createBars(el, rungs) {
  const list = addElement(el, "ul", { class: "digit-votes-bars" });
  const rows = new Map(rungs.map(({ name, accuracy }) => {
    const row = addElement(list, "li", { "data-rung": name });
    const title = addElement(row, "span", { class: "digit-votes-rung" }, name);
    if (accuracy) addElement(title, "small", {}, ` ${accuracy}`);
    const for3 = addElement(row, "span", { class: "digit-votes-for3" });
    const bar = addElement(row, "span", { class: "digit-votes-bar", "aria-hidden": "true" });
    const for7 = addElement(row, "span", { class: "digit-votes-for7" });
    return [name, { row, for3, for7, part: addElement(bar, "span") }];
  }));
  return ({ rung, p3 }) => { // p3 undefined: no vote
    const { row, for3, for7, part } = rows.get(rung);
    row.classList.toggle("digit-votes-none", p3 === undefined);
    if (p3 === undefined) row.removeAttribute("data-p3");
    else row.setAttribute("data-p3", p3.toFixed(8));
    setText(for3, p3 === undefined ? "" : `3: ${percent(p3)}`);
    setText(for7, p3 === undefined ? "" : `7: ${percent(1 - p3)}`);
    part.style.width = percent(p3 ?? 0).replace(" ", "");
  };
}

// Ten bars, one for each digit; they appear with the first answer that has them.
function createTenBars(el) {
  const list = addElement(el, "ol", { class: "digit-votes-ten", hidden: "", "aria-label": "all ten digits" });
  const rows = Array.from({ length: 10 }, (_, digit) => {
    const row = addElement(list, "li", { "data-digit": digit });
    addElement(row, "b", {}, digit);
    const bar = addElement(row, "span", { class: "digit-votes-bar", "aria-hidden": "true" });
    return { row, part: addElement(bar, "span"), says: addElement(row, "span") };
  });
  return (digits) => {
    if (digits) list.hidden = false;
    rows.forEach(({ row, part, says }, digit) => {
      const p = digits?.[digit];
      row.classList.toggle("digit-votes-most", p !== undefined && p === Math.max(...digits));
      if (p === undefined) row.removeAttribute("data-p");
      else row.setAttribute("data-p", p.toFixed(8));
      part.style.width = percent(p ?? 0).replace(" ", "");
      setText(says, p === undefined ? "" : percent(p));
    });
  };
}

function addPicture(el) {
  const figure = addElement(el, "figure");
  const frame = addElement(figure, "div", { class: "digit-votes-frame" });
  const image = addElement(frame, "img", { hidden: "", alt: "" });
  const outline = addSvgPath(frame);
  return { image, outline, caption: addElement(figure, "figcaption") };
}

// The pictures of each rung have their place before there is anything to show.
function createEvidence(el, rungs) {
  const places = new Map();
  for (const { name, pictures } of rungs) {
    if (!pictures) continue;
    const group = addElement(el, "div", { class: "digit-votes-evidence" });
    addElement(group, "b", {}, name);
    const row = addElement(group, "div");
    places.set(name, Array.from({ length: pictures }, () => addPicture(row)));
  }
  return ({ evidence = [], outline = "" }) => {
    for (const { image, caption, outline: path } of [...places.values()].flat()) {
      image.hidden = true;
      setText(caption, "");
      path.setAttribute("d", outline);
    }
    for (const { rung, parts } of evidence) {
      parts.forEach(({ caption, alt, png }, n) => {
        const place = places.get(rung)[n];
        Object.assign(place.image, { src: png, alt, hidden: false });
        setText(place.caption, caption);
      });
    }
  };
}

// Shows answers in `el`, about `rungs`: [{name, accuracy, pictures}], where `accuracy` is a text and `pictures` how
// many pictures of evidence the rung has; both may be missing.
function createVotes(el, rungs) {
  const votes = addElement(el, "div", { class: "digit-votes" });
  const said = addElement(votes, "div", { class: "digit-votes-said" });
  const answer = addElement(said, "div", { class: "digit-votes-answer", role: "status" });
  const [word, why] = [addElement(answer, "b"), addElement(answer, "span")];
  const silence = addElement(said, "div", { class: "digit-votes-silence", role: "status" });
  const showVote = createBars(said, rungs);
  const showDigits = createTenBars(said);
  const showEvidence = createEvidence(addElement(votes, "div", { class: "digit-votes-why" }), rungs);
  const show = ({ verdict, why: reason, votes: all, digits, ...evidence }) => {
    votes.classList.remove("digit-votes-silent");
    setText(silence, "");
    answer.setAttribute("data-verdict", verdict);
    setText(word, WORDS[verdict]);
    setText(why, reason);
    for (const { name } of rungs) showVote({ rung: name, p3: all.find(({ rung }) => rung === name)?.p3 });
    showDigits(digits);
    showEvidence(evidence);
  };
  const empty = () => show({ verdict: "empty", why: EMPTY_PAD, votes: [] });
  empty();
  return {
    show,
    empty,
    silent(words) { // what is shown may be out of date
      votes.classList.add("digit-votes-silent");
      setText(silence, words);
    },
    remove: () => votes.remove(),
  };
}
