// A picture that the kernel draws anew: the old one stays until the new one is decoded, or it would flicker.

function render({ model, el }) {
  let latest = 0;
  const show = async () => {
    const [png, turn] = [model.get("value"), ++latest];
    if (!png?.byteLength) return;
    const address = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    const picture = Object.assign(new Image(), { src: address, alt: model.get("words"), width: 600 });
    await picture.decode();
    if (turn === latest) el.replaceChildren(picture);
    URL.revokeObjectURL(address);
  };
  model.on("change:value", show);
  show();
  return () => model.off("change:value", show);
}

export default { render };
