// On paper nothing can be unfolded: hints and answers to guesses are printed open, and folded again after.
// Solutions and code that only draws are not printed at all (site.css).

let folded = [];

window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open], .solution, .drawing)")];
  folded.forEach((each) => { each.open = true; });
});

window.addEventListener("afterprint", () => folded.forEach((each) => { each.open = false; }));
