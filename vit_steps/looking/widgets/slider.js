// A slider that turns the pages of a flip book: the pictures are here already, so that a key press costs a frame.

function render({ model, el }) {
  const [names, sentences] = [model.get("names"), model.get("sentences")];
  const root = add(el, "div", { className: "vit-steps" });
  const label = add(root, "label", { textContent: `${model.get("label")} ` });
  const slider = add(label, "input", { type: "range", min: 0, max: names.length - 1, value: model.get("chosen") });
  slider.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys to us
  const name = add(label, "output");
  const page = add(root, "div");
  const sentence = add(root, "p", { className: "vit-steps-sentence" });
  sentence.setAttribute("aria-live", "polite");

  const pictures = model.get("pictures").map((png, number) => {
    const address = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    const picture = Object.assign(new Image(), { src: address, alt: sentences[number], width: model.get("width") });
    return picture;
  });
  const show = () => {
    const chosen = slider.valueAsNumber;
    page.replaceChildren(pictures[chosen]);
    name.textContent = names[chosen];
    slider.setAttribute("aria-valuetext", names[chosen]);
    sentence.textContent = sentences[chosen];
  };
  slider.addEventListener("input", show);
  slider.addEventListener("keydown", (event) => event.stopPropagation());
  Promise.all(pictures.map((picture) => picture.decode())).then(show); // decoded first, or a turn would flicker
  return () => pictures.forEach((picture) => URL.revokeObjectURL(picture.src));
}

export default { render };

function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}
