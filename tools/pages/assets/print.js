// On paper nothing can be unfolded: hints and solutions are printed open, and folded again after.

let folded = [];

window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((each) => { each.open = true; });
});

window.addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));
