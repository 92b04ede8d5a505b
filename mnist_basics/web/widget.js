// Between the pad and Python. They share what is drawn (`drawing`, with an id, from either side), what the rungs say
// of it (`answer`, `to` an id) and what never changes (`facts`); the rest is asked for in messages.
const PATIENCE = 2000; // milliseconds
const NOBODY = "Python does not answer: run the cell again, or wait while another cell runs.";

// One for all views of a pad: its sheet, and the talk with Python. A view is {show, empty, silent, note}.
function connect(model) {
  const [sheet, views] = [newSheet(), new Set()];
  const page = Math.random().toString(36).slice(2); // another page may show the same pad
  let [sent, latest, number, timer] = [null, "", 0, 0];
  const all = (what, words) => views.forEach((view) => view[what](words));
  const wait = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      all("silent", NOBODY);
    }, PATIENCE);
  };
  const heard = () => { timer = clearTimeout(timer); };
  const show = () => {
    const answer = model.get("answer");
    if (sheet.isEmpty()) all("empty");
    else if (answer.to) all("show", answer);
  };
  const put = () => { // a drawing that Python, or another page, has made; but not under a hand that draws
    const drawing = model.get("drawing");
    if (sheet.penDown || drawing.id?.startsWith(page)) return;
    [sent, latest] = [{ ...drawing, down: false }, drawing.id];
    sheet.put(drawing);
    show();
  };
  const send = () => {
    const drawing = { ...sheet.drawing(), down: sheet.penDown };
    if (Object.keys(drawing).every((name) => drawing[name] === sent?.[name])) return;
    [sent, latest] = [drawing, `${page}-${number++}`];
    model.set("drawing", { ...drawing, id: latest });
    model.save_changes();
    if (!sheet.isEmpty()) return wait();
    heard();
    all("empty");
  };
  const hear = () => {
    heard();
    const answer = model.get("answer");
    if (answer.to !== latest && !sheet.isEmpty()) wait(); // more has been drawn meanwhile
    if (answer.seen) sheet.show(answer.seen);
    show();
  };
  sheet.listen(send);
  if (model.get("drawing").id) put();
  model.on("change:drawing", put);
  model.on("change:answer", hear);
  model.on("msg:custom", ({ note }) => {
    heard();
    all("note", note);
  });
  return {
    sheet,
    add(view) { // returns a function that takes it out
      views.add(view);
      show();
      return () => views.delete(view);
    },
    ask(request) {
      model.send(request);
      wait();
    },
  };
}

// Start from a validation image; look at a mistake; all ten digits; keep the drawing.
function createControls(el, { images, best, keeps }, { sheet, ask }) {
  const row = () => addElement(el, "div", { class: "digit-pad-buttons" });
  const addButton = (parent, text, request) =>
    addElement(parent, "button", { type: "button" }, text).addEventListener("click", () => ask(request()));
  const label = addElement(row(), "label", { class: "digit-pad-number" }, "validation image ");
  const number = addElement(label, "input", { type: "number", min: 0, max: images - 1, value: 0 });
  addElement(label, "small", {}, ` 0 to ${images - 1}, then Enter`);
  number.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) ask({ do: "start", number: number.valueAsNumber });
  });
  const buttons = row();
  addButton(buttons, `next mistake of the ${best}`, () => ({ do: "mistake" }));
  addButton(buttons, "all ten digits", () => ({ do: "ten" }));
  if (keeps) {
    const form = row();
    addElement(form, "span", {}, "keep it as");
    for (const label of [3, 7]) addButton(form, label, () => ({ do: "keep", label, drawing: sheet.drawing() }));
  }
  return addElement(el, "div", { class: "digit-pad-note", role: "status" });
}

function showView(el, facts, talk) {
  const box = addElement(addElement(el, "div", { class: "digit-playground" }), "div");
  const left = addElement(box, "div", { class: "digit-playground-pad" });
  keepKeys(left);
  const removePad = createPad(left, talk.sheet);
  const note = createControls(left, facts, talk);
  const remove = talk.add({ ...createVotes(box, facts.rungs), note: (words) => setText(note, words) });
  return () => {
    remove();
    removePad();
  };
}

// anywidget calls this once for each pad, `render` for each place in which it is shown.
export default () => {
  let talk;
  return {
    initialize({ model }) { talk = connect(model); },
    render: ({ model, el }) => showView(el, model.get("facts"), talk),
  };
};
