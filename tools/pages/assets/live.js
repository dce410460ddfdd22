// Bring the widgets of a page to life: each has its script and its data beside its picture.
// A script is loaded from a blob, since a browser loads no module from a folder on disk.

const decode = (value) => {
  if (Array.isArray(value)) return value.map(decode);
  if (value?.base64 === undefined) return value;
  const bytes = Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0));
  return new DataView(bytes.buffer);
};

const modelOf = (state) => {
  const values = Object.fromEntries(Object.entries(state).map(([name, value]) => [name, decode(value)]));
  return {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes: () => {},
    on: () => {},
    off: () => {},
  };
};

async function wake(widget) {
  const { script, state } = JSON.parse(widget.querySelector("script").textContent);
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const el = widget.appendChild(document.createElement("div"));
  el.className = "alive";
  await (await import(address)).default.render({ model: modelOf(state), el });
  URL.revokeObjectURL(address);
  widget.classList.add("awake"); // hides the picture, but on paper
}

document.querySelectorAll(".widget[data-live]").forEach(wake);

document.addEventListener("recolour", () => {
  document.querySelectorAll(".alive").forEach((each) => each.dispatchEvent(new Event("recolour")));
});
