// One way through all slides, whichever arrow is pressed; a widget in use keeps its keys to itself.

Reveal.initialize({
  width: 1280,
  height: 720,
  margin: 0,
  center: false,
  hash: true,
  navigationMode: "linear",
  slideNumber: "c/t",
  defaultTiming: 0, // each slide says its own, which is heeded only where this stands
  transition: "none",
  keyboardCondition: () => !document.activeElement.closest(".alive"),
  plugins: [RevealNotes],
});

// A long formula is as large as the others, or as the slide is wide.
function fitFormulas() {
  for (const formula of Reveal.getCurrentSlide().querySelectorAll(".formula.long")) {
    formula.style.fontSize = "1.05em";
    const width = formula.querySelector("math > *").getBoundingClientRect().width / Reveal.getScale();
    const share = Math.min(1, (0.97 * formula.clientWidth) / width);
    formula.style.fontSize = `${1.05 * share}em`;
  }
}

Reveal.on("ready", fitFormulas);
Reveal.on("slidechanged", fitFormulas);
